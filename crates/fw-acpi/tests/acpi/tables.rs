//! From the root pointer to registers.

use boot_core::SliceMemory;
use fw_acpi::{
    Acpi, AcpiError, AddressSpace, Pm1Control, Power, Register, Reset, Signature, SoftOff, TableError,
    find_rsdp,
};

use crate::machine::{BASE, Hardware, LEN, memory, microvm, pc};

/// Runs `f` with memory of these bytes.
fn with<R>(bytes: &[u8], f: impl FnOnce(&SliceMemory<'_>) -> R) -> R {
    let mut bytes = bytes.to_vec();
    let mut memory = SliceMemory::new();
    memory.add(BASE, &mut bytes).unwrap();
    f(&memory)
}

/// Reset and power-off by the tables, and the errors of tables with definitions.
fn read_power(memory: &SliceMemory<'_>, rsdp: u64) -> Result<(Power, Vec<String>), AcpiError> {
    let acpi = Acpi::read(memory, rsdp)?;
    let fadt = acpi.fadt(memory)?.unwrap();
    let mut errors = Vec::new();
    let namespace = acpi.namespace(memory, Some(&fadt), &mut |error| errors.push(error.to_string()));
    Ok((Power::new(&fadt, &namespace), errors))
}

fn power(bytes: &[u8]) -> Power {
    with(bytes, |memory| {
        let rsdp = find_rsdp(memory).unwrap();
        let (power, errors) = read_power(memory, rsdp).unwrap();
        assert_eq!(errors, [""; 0]);
        power
    })
}

const fn register(space: AddressSpace, addr: u64, width: u8) -> Register {
    Register { space, addr, width }
}

#[test]
fn a_microvm_has_sleep_registers_in_memory() {
    let power = power(&memory(Hardware::Reduced, &microvm(2)));
    let reset = register(AddressSpace::MEMORY, 0xfea0_0202, 1);
    assert_eq!(
        power.reset,
        Some(Reset {
            register: reset,
            value: 0x42
        })
    );
    assert_eq!(
        power.soft_off,
        Some(SoftOff::SleepControl {
            register: register(AddressSpace::MEMORY, 0xfea0_0200, 1),
            value: 0x34
        })
    );
}

#[test]
fn a_pc_has_pm1_registers_at_ports() {
    let bytes = memory(Hardware::Fixed, &pc());
    let power = power(&bytes);
    let control = Pm1Control {
        register: register(AddressSpace::IO, 0x604, 2),
        sleep_type: 1,
    };
    assert_eq!(power.soft_off, Some(SoftOff::Pm1 { a: control, b: None }));
    assert_eq!(
        power.reset.map(|reset| (reset.register.addr, reset.value)),
        Some((0xcf9, 0x0f))
    );
    // SCI_EN stays.
    assert_eq!(control.value(0x0001), 0x2401);
    assert_eq!(control.value(0x1c00), 0x2400);
    with(&bytes, |memory| {
        let fadt = Acpi::read(memory, BASE).unwrap().fadt(memory).unwrap().unwrap();
        assert_eq!(fadt.acpi_enable, Some((0xb2, 2)));
        assert_eq!(fadt.century, Some(0x32));
        assert_eq!(fadt.pm_timer, Some((register(AddressSpace::IO, 0x608, 4), 32)));
        assert!(!fadt.is_hardware_reduced());
    });
}

#[test]
fn devices_are_found_through_the_tables() {
    with(&memory(Hardware::Reduced, &microvm(24)), |memory| {
        let acpi = Acpi::read(memory, BASE).unwrap();
        assert_eq!((acpi.rsdp(), acpi.revision()), (BASE, 2));
        let fadt = acpi.fadt(memory).unwrap();
        let dsdt = fadt.and_then(|fadt| fadt.dsdt).unwrap();
        let ranges: Vec<_> = acpi.ranges(memory, fadt.as_ref());
        let starts: Vec<_> = ranges.iter().map(|range| range.start()).collect();
        assert_eq!(starts, [BASE, BASE + 0x100, BASE + 0x200, dsdt]);
        assert_eq!(ranges[0].len(), 36);
        assert_eq!(ranges[2].len(), 276);
        let signatures: Vec<_> = acpi.tables().iter().map(|table| table.signature).collect();
        assert_eq!(signatures, [Signature::FADT]);
        let namespace = acpi.namespace(memory, fadt.as_ref(), &mut |error| panic!("{error}"));
        assert_eq!(namespace.devices_with_id("LNRO0005").count(), 24);
    });
}

#[test]
fn old_tables_are_shorter() {
    // A FADT of revision 1 has 116 bytes, and no reset register.
    let mut bytes = memory(Hardware::Fixed, &microvm(0));
    bytes[0x204..0x208].copy_from_slice(&116_u32.to_le_bytes());
    fix(&mut bytes[0x200..0x200 + 116]);
    let power = power(&bytes);
    assert_eq!(power.reset, None);
    assert!(power.soft_off.is_some());
}

/// Makes the bytes of a table add up to zero.
fn fix(table: &mut [u8]) {
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[9] = table[9].wrapping_sub(sum);
}

#[test]
fn a_root_pointer_is_found_only_with_its_sum() {
    let mut bytes = memory(Hardware::Fixed, &pc());
    let find = |bytes: &[u8]| with(bytes, |memory| find_rsdp(memory));
    assert_eq!(find(&bytes), Some(BASE));
    bytes[8] ^= 1;
    assert_eq!(find(&bytes), None);
    bytes[8] ^= 1;
    // Not at a multiple of 16 bytes, then at the end.
    let rsdp = bytes[..36].to_vec();
    bytes[..36].fill(0);
    bytes[0x8008..0x8008 + 36].copy_from_slice(&rsdp);
    assert_eq!(find(&bytes), None);
    bytes[LEN - 32..LEN - 12].copy_from_slice(&rsdp[..20]);
    assert_eq!(find(&bytes), Some(BASE + LEN as u64 - 32));
    assert_eq!(find(&bytes[..LEN - 1]), None);
}

/// Error of the tables after `change`.
fn error(change: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = memory(Hardware::Fixed, &pc());
    change(&mut bytes);
    with(&bytes, |memory| read_power(memory, BASE).unwrap_err().to_string())
}

#[test]
fn a_reset_does_not_need_the_dsdt() {
    let mut bytes = memory(Hardware::Fixed, &pc());
    let whole = power(&bytes);
    bytes[0x400] = b'S';
    with(&bytes, |memory| {
        let (power, errors) = read_power(memory, BASE).unwrap();
        assert_eq!(errors, ["DSDT at 0xe0400: it has the signature SSDT"]);
        assert_eq!((power.reset, power.soft_off), (whole.reset, None));
        assert!(power.reset.is_some());
    });
}

#[test]
fn errors_name_table_and_place() {
    let check = |change: fn(&mut [u8]), expected: &str| assert_eq!(error(change), expected);
    check(
        |bytes| bytes[0] = b'X',
        "RSDP at 0xe0000: it has the signature XSD ",
    );
    check(
        |bytes| bytes[16] ^= 1,
        "RSDP at 0xe0000: its bytes add up to 0x1, expected 0",
    );
    check(
        |bytes| bytes[0x100] = b'\n',
        "XSDT at 0xe0100: it has the signature \\nSDT",
    );
    check(
        |bytes| bytes[0x104..0x108].copy_from_slice(&35_u32.to_le_bytes()),
        "XSDT at 0xe0100: its length is 0x23, expected 0x24 to 0x100000",
    );
    check(
        |bytes| bytes[0x104..0x108].copy_from_slice(&0x10_0000_u32.to_le_bytes()),
        "XSDT at 0xe0100 cannot be read",
    );
    check(
        |bytes| bytes[0x104..0x108].copy_from_slice(&u32::MAX.to_le_bytes()),
        "XSDT at 0xe0100: its length is 0xffffffff, expected 0x24 to 0x100000",
    );
    check(
        |bytes| bytes[0x230] ^= 4,
        "FACP at 0xe0200: its bytes add up to 0x4, expected 0",
    );
    let bytes = memory(Hardware::Fixed, &pc());
    with(&bytes, |memory| {
        let Err(AcpiError::Malformed { source, .. }) = Acpi::read(memory, BASE + 0x100) else {
            panic!("an XSDT is no RSDP");
        };
        assert_eq!(source, TableError::Signature(Signature::XSDT));
        assert!(matches!(
            Acpi::read(memory, 0),
            Err(AcpiError::Unreadable { addr: 0, .. })
        ));
    });
}

//! What holds for all bytes. The fuzz target includes this file.

use boot_core::SliceMemory;
use fw_acpi::aml::{MAX_DEVICES, MAX_RESOURCES};
use fw_acpi::{Acpi, Fadt, MAX_TABLES, Namespace, Power, SoftOff, find_rsdp};

/// Where the memory of a machine begins: the area of the BIOS.
const BASE: u64 = 0xe_0000;
const LEN: usize = 0x2_0000;

/// Reads bytes as a definition block.
pub(crate) fn check_aml(aml: &[u8]) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.add(aml);
    // A device has at least seven bytes.
    assert!(namespace.devices.len() <= MAX_DEVICES.min(aml.len() / 7));
    for device in &namespace.devices {
        let mut segments = device
            .path
            .strip_prefix('\\')
            .expect("a path from the root")
            .split('.');
        assert!(
            device.path == "\\" || segments.all(|name| name.len() == 4),
            "{}",
            device.path
        );
        let counts = [device.memory.len(), device.interrupts.len(), device.ports.len()];
        assert!(counts.into_iter().all(|count| count <= MAX_RESOURCES));
    }
    let mut again = Namespace::default();
    again.add(aml);
    assert_eq!(namespace, again);
    check_power(&Power::new(&Fadt::parse(aml), &namespace));
    namespace
}

fn check_power(power: &Power) {
    if let Some(reset) = power.reset {
        assert!(reset.register.addr != 0 && reset.register.width == 1);
    }
    match power.soft_off {
        Some(SoftOff::Pm1 { a, b }) => {
            for control in [Some(a), b].into_iter().flatten() {
                assert!(control.register.width == 2 && control.sleep_type < 8);
                assert_eq!(control.value(0xffff) & 0xc3ff, 0xc3ff);
                assert_eq!(control.value(0) & !0x3c00, 0);
            }
        }
        Some(SoftOff::SleepControl { value, .. }) => assert_eq!(value & !0x1c, 0x20),
        None => {}
    }
}

/// Reads bytes as the area of the BIOS; the sum of every table is mended first, so that changed tables are read. Returns whether the machine can be
/// switched off.
pub(crate) fn check_memory(bytes: &[u8]) -> bool {
    let mut area = bytes.to_vec();
    area.resize(LEN, 0);
    for at in (0..LEN).step_by(16) {
        mend(&mut area[at..]);
    }
    let mut memory = SliceMemory::new();
    memory.add(BASE, &mut area).expect("an empty memory");
    let Some(rsdp) = find_rsdp(&memory) else {
        return false;
    };
    let Ok(acpi) = Acpi::read(&memory, rsdp) else {
        return false;
    };
    assert!(acpi.tables().len() <= MAX_TABLES);
    let fadt = acpi
        .fadt(&memory)
        .inspect_err(|error| assert!(!error.to_string().is_empty()))
        .ok()
        .flatten();
    assert!(acpi.ranges(&memory, fadt.as_ref()).len() <= MAX_TABLES + 4);
    let namespace = acpi.namespace(&memory, fadt.as_ref(), &mut |error| {
        assert!(!error.to_string().is_empty());
    });
    let Some(fadt) = fadt else { return false };
    let power = Power::new(&fadt, &namespace);
    check_power(&power);
    power.soft_off.is_some()
}

/// Mends the sum of a structure at the start of `bytes`.
fn mend(bytes: &mut [u8]) {
    let (len, at) = if bytes.starts_with(b"RSD PTR ") {
        (20, 8)
    } else if [b"XSDT", b"RSDT", b"FACP", b"DSDT", b"SSDT"]
        .iter()
        .any(|known| bytes.starts_with(*known))
    {
        let len = bytes.get(4..8).and_then(|len| len.try_into().ok());
        (u32::from_le_bytes(len.unwrap_or_default()) as usize, 9)
    } else {
        return;
    };
    let Some(table) = bytes.get_mut(..len).filter(|table| table.len() > at) else {
        return;
    };
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[at] = table[at].wrapping_sub(sum);
}

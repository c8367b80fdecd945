use super::*;

/// The encodings in the tables of Documentation/virt/kvm/api.rst ("4.68 KVM_SET_ONE_REG"), for a 64-bit host.
#[test]
fn documented_encodings() {
    let documented = [
        (Register::ISA, 0x8030_0000_0100_0000),
        (Register::PC, 0x8030_0000_0200_0000),
        // regs.ra, regs.sp, regs.gp, regs.tp, regs.t0, regs.a0, regs.a7, regs.s11, regs.t6
        (Register::x(1).unwrap(), 0x8030_0000_0200_0001),
        (Register::x(2).unwrap(), 0x8030_0000_0200_0002),
        (Register::x(3).unwrap(), 0x8030_0000_0200_0003),
        (Register::x(4).unwrap(), 0x8030_0000_0200_0004),
        (Register::x(5).unwrap(), 0x8030_0000_0200_0005),
        (Register::x(10).unwrap(), 0x8030_0000_0200_000a),
        (Register::x(17).unwrap(), 0x8030_0000_0200_0011),
        (Register::x(27).unwrap(), 0x8030_0000_0200_001b),
        (Register::x(31).unwrap(), 0x8030_0000_0200_001f),
        (Register::MODE, 0x8030_0000_0200_0020),
        (Register::SSTATUS, 0x8030_0000_0300_0000),
        (Register::SIE, 0x8030_0000_0300_0001),
        (Register::STVEC, 0x8030_0000_0300_0002),
        (Register::SSCRATCH, 0x8030_0000_0300_0003),
        (Register::SEPC, 0x8030_0000_0300_0004),
        (Register::SCAUSE, 0x8030_0000_0300_0005),
        (Register::STVAL, 0x8030_0000_0300_0006),
        (Register::SIP, 0x8030_0000_0300_0007),
        (Register::SATP, 0x8030_0000_0300_0008),
        (Register::TIMER_FREQUENCY, 0x8030_0000_0400_0000),
        (Register::TIMER_TIME, 0x8030_0000_0400_0001),
        (Register::TIMER_COMPARE, 0x8030_0000_0400_0002),
        (Register::TIMER_STATE, 0x8030_0000_0400_0003),
        (Register::f32(0).unwrap(), 0x8020_0000_0500_0000),
        (Register::f32(31).unwrap(), 0x8020_0000_0500_001f),
        (Register::FCSR_F, 0x8020_0000_0500_0020),
        (Register::f64(0).unwrap(), 0x8030_0000_0600_0000),
        (Register::f64(31).unwrap(), 0x8030_0000_0600_001f),
        (Register::FCSR_D, 0x8020_0000_0600_0020),
    ];
    for (register, expected) in documented {
        assert_eq!(register.0, expected, "{register}");
    }
}

/// Registers that the document does not list, by the rules of `arch/riscv/include/uapi/asm/kvm.h`: architecture, size,
/// type << 24, subtype << 16, and the position of the field in its structure.
#[test]
fn composed_encodings() {
    let compose = |size: u64, kind: u64, subtype: u64, index: u64| {
        0x8000_0000_0000_0000 | size << 52 | kind << 24 | subtype << 16 | index
    };
    let mut expected = Vec::new();
    let config = [
        Register::ISA,
        Register::ZICBOM_BLOCK_SIZE,
        Register::MVENDORID,
        Register::MARCHID,
        Register::MIMPID,
        Register::ZICBOZ_BLOCK_SIZE,
        Register::SATP_MODE,
        Register::ZICBOP_BLOCK_SIZE,
    ];
    let aia = [
        Register::SISELECT,
        Register::IPRIO1,
        Register::IPRIO2,
        Register::SIEH,
        Register::SIPH,
        Register::IPRIO1H,
        Register::IPRIO2H,
    ];
    let vector = [
        Register::VSTART,
        Register::VL,
        Register::VTYPE,
        Register::VCSR,
        Register::VLENB,
    ];
    expected.extend(config.into_iter().zip((0..).map(|i| compose(3, 1, 0, i))));
    expected.extend(aia.into_iter().zip((0..).map(|i| compose(3, 3, 1, i))));
    expected.extend(vector.into_iter().zip((0..).map(|i| compose(3, 9, 0, i))));
    expected.extend([
        (Register::SCOUNTEREN, compose(3, 3, 0, 9)),
        (Register::SENVCFG, compose(3, 3, 0, 10)),
        (Register::SSTATEEN0, compose(3, 3, 2, 0)),
        (Register::STEAL_TIME_LO, compose(3, 10, 0, 0)),
        (Register::STEAL_TIME_HI, compose(3, 10, 0, 1)),
        // 128-bit and 256-bit vector registers: sizes 2⁴ and 2⁵ bytes.
        (Register::v(0, 16).unwrap(), compose(4, 9, 0, 6)),
        (Register::v(31, 16).unwrap(), compose(4, 9, 0, 37)),
        (Register::v(1, 32).unwrap(), compose(5, 9, 0, 7)),
        (Register::isa(IsaExtension::SSAIA), compose(3, 7, 0, 14)),
        (Register::sbi(SbiExtension::EXPERIMENTAL), compose(3, 8, 0, 7)),
        (Register::sbi(SbiExtension::VENDOR), compose(3, 8, 0, 8)),
        (Register::sbi(SbiExtension::DBCN), compose(3, 8, 0, 9)),
        // `KVM_REG_RISCV_SBI_MULTI_DIS`, word 0.
        (Register::SBI_DISABLE, compose(3, 8, 2, 0)),
    ]);
    for (register, expected) in expected {
        assert_eq!(register.0, expected, "{register}");
    }
}

/// Group, subgroup, index, size and name of an id.
#[test]
fn ids_are_decomposed() {
    let check = |register: Register, group, subgroup, index, size, name: &str| {
        let found = (
            register.group(),
            register.subgroup(),
            register.index(),
            register.size(),
        );
        assert_eq!(found, (Some(group), subgroup, index, size), "{register}");
        assert_eq!(register.to_string(), name);
    };
    check(Register::PC, RegisterGroup::CORE, 0, 0, 8, "pc");
    check(Register::x(10).unwrap(), RegisterGroup::CORE, 0, 10, 8, "x10");
    check(Register::MODE, RegisterGroup::CORE, 0, 32, 8, "mode");
    check(Register::IPRIO1H, RegisterGroup::CSR, 1, 5, 8, "iprio1h");
    check(Register::SSTATEEN0, RegisterGroup::CSR, 2, 0, 8, "sstateen0");
    check(Register::FCSR_D, RegisterGroup::FP_D, 0, 32, 4, "fcsr");
    check(
        Register::f32(3).unwrap(),
        RegisterGroup::FP_F,
        0,
        3,
        4,
        "f3 (32 bits)",
    );
    check(Register::f64(3).unwrap(), RegisterGroup::FP_D, 0, 3, 8, "f3");
    check(
        Register::v(7, 64).unwrap(),
        RegisterGroup::VECTOR,
        0,
        13,
        64,
        "v7",
    );
    check(Register::VLENB, RegisterGroup::VECTOR, 0, 4, 8, "vlenb");
    check(
        Register::isa(IsaExtension::SSTC),
        RegisterGroup::ISA_EXTENSION,
        0,
        8,
        8,
        "ISA extension sstc",
    );
    check(
        Register::isa(IsaExtension(999)),
        RegisterGroup::ISA_EXTENSION,
        0,
        999,
        8,
        "ISA extension 999",
    );
    check(
        Register::sbi(SbiExtension::HSM),
        RegisterGroup::SBI_EXTENSION,
        0,
        5,
        8,
        "SBI extension HSM",
    );
    check(
        Register::SBI_DISABLE,
        RegisterGroup::SBI_EXTENSION,
        2,
        0,
        8,
        "SBI extensions to disable",
    );
    for foreign in [
        0,
        0x6030_0000_0010_0000,
        0x8030_0001_0200_0000,
        0x8130_0000_0200_0000,
        u64::MAX,
    ] {
        assert_eq!(Register(foreign).group(), None, "{foreign:#x}");
        assert_eq!(Register(foreign).to_string(), format!("register {foreign:#018x}"));
    }
    assert_eq!(
        Register(0x8030_0000_7700_0001).to_string(),
        "register 0x8030000077000001"
    );
}

#[test]
fn the_configuration_is_what_the_guest_cannot_change() {
    for (register, expected) in [
        (Register::ISA, true),
        (Register::isa(IsaExtension::V), true),
        (Register::sbi(SbiExtension::DBCN), true),
        (Register::PC, false),
        (Register::SATP, false),
        (Register::TIMER_COMPARE, false),
    ] {
        assert_eq!(register.is_configuration(), expected, "{register}");
    }
}

#[test]
fn numbers_that_do_not_exist_have_no_id() {
    for number in [0, 32, u16::MAX] {
        assert_eq!(Register::x(number), None, "x{number}");
    }
    for number in [32, u16::MAX] {
        assert_eq!(Register::f32(number), None, "f{number}");
        assert_eq!(Register::f64(number), None, "f{number}");
        assert_eq!(Register::v(number, 16), None, "v{number}");
    }
    for vlenb in [0, 3, 17, 1 << 16, u32::MAX] {
        assert_eq!(Register::v(0, vlenb), None, "{vlenb} bytes");
    }
    assert_eq!(Register::v(0, 1 << 15).unwrap().size(), 1 << 15);
    // And back.
    assert_eq!(Register::v(31, 16).unwrap().vector_number(16), Some(31));
    assert_eq!(Register::v(31, 16).unwrap().vector_number(32), None);
    for register in [Register::VLENB, Register::PC, Register::x(10).unwrap()] {
        assert_eq!(register.vector_number(8), None, "{register}");
    }
}

/// No two registers have the same id. Only the `time` counter is a time counter.
#[test]
fn ids_are_unique() {
    let mut all: Vec<Register> = (0..32)
        .flat_map(|n| {
            [
                Register::x(n),
                Register::f32(n),
                Register::f64(n),
                Register::v(n, 16),
            ]
        })
        .flatten()
        .collect();
    all.extend((0..71).map(|n| Register::isa(IsaExtension(n))));
    all.extend((0..12).map(|n| Register::sbi(SbiExtension(n))));
    all.extend([Register::PC, Register::MODE, Register::FCSR_F, Register::FCSR_D]);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(!all.iter().any(|register| register.is_time_counter()));
    assert!(Register::TIMER_TIME.is_time_counter());
}

/// A sample of the numbers of `enum KVM_RISCV_ISA_EXT_ID` and `enum KVM_RISCV_SBI_EXT_ID`.
#[test]
fn names_of_extensions_belong_to_their_numbers() {
    for (number, name) in [
        (0, "a"),
        (4, "h"),
        (5, "i"),
        (6, "m"),
        (8, "sstc"),
        (11, "zicbom"),
        (14, "ssaia"),
        (15, "v"),
        (20, "zicsr"),
        (21, "zifencei"),
        (23, "smstateen"),
        (32, "zkr"),
        (46, "zfh"),
        (53, "zacas"),
        (62, "smnpm"),
        (68, "ziccrse"),
        (70, "zalrsc"),
    ] {
        assert_eq!(IsaExtension(number).name(), Some(name));
        assert_eq!(IsaExtension::from_name(name), Some(IsaExtension(number)));
    }
    assert_eq!(IsaExtension(71).name(), None);
    assert_eq!(IsaExtension::from_name("xnothing"), None);
    let mut names: Vec<_> = (0..71).filter_map(|n| IsaExtension(n).name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 71);
    for (number, name) in [
        (0, "v0.1"),
        (3, "RFENCE"),
        (4, "SRST"),
        (5, "HSM"),
        (9, "DBCN"),
        (11, "SUSP"),
    ] {
        assert_eq!(SbiExtension(number).name(), Some(name));
    }
    assert_eq!(SbiExtension(12).name(), None);
}

#[test]
fn features_of_another_cpu() {
    let extension = Register::isa(IsaExtension::SSTC);
    let check = |register: Register, stored, here, expected| {
        assert!(register.is_feature());
        assert_eq!(register.feature_fits(stored, here), expected, "{register}");
    };
    check(Register::ISA, 0b101, 0b111, true);
    check(Register::ISA, 0b101, 0b110, false);
    check(extension, 0, 1, true);
    check(extension, 1, 0, false);
    check(Register::ZICBOZ_BLOCK_SIZE, 64, 64, true);
    check(Register::ZICBOZ_BLOCK_SIZE, 32, 64, false);
    assert!(!Register::PC.is_feature() && !Register::VLENB.is_feature());
}

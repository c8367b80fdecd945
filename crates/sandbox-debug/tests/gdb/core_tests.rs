//! gdb on core dumps.

use std::fs::File;

use boot_core::Arch;
use hv_core::GuestRegisters;
use hv_kvm_test::CheckResult;
use sandbox_debug::CoreDump;

use crate::{
    fake::{DATA, FakeTarget, START},
    gdb::{self, Test},
};

pub(crate) const TESTS: &[Test] = &[
    ("core::gdb_opens_one_of_x86_64", || opens(Arch::X86_64)),
    ("core::gdb_opens_one_of_arm64", || opens(Arch::Aarch64)),
    ("core::gdb_opens_one_of_riscv64", || opens(Arch::Riscv64)),
];

fn opens(arch: Arch) -> CheckResult {
    let mut target = FakeTarget::new(arch);
    let at = usize::try_from(DATA - START)?;
    target.memory[at..at + 8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
    let (sp, general, float, value) = match &mut target.registers {
        GuestRegisters::X86_64(registers) => {
            registers.cpu.rsp = 0x5b;
            registers.cpu.r15 = 0x1515;
            let mut area = registers.fxsave();
            area[160 + 15 * 16..][..4].copy_from_slice(&2.5_f32.to_le_bytes());
            registers.set_fxsave(&area);
            ("$rsp", "$r15", "$xmm15.v4_float[0]", "2.5")
        }
        GuestRegisters::Aarch64(registers) => {
            registers.set_sp(0x5b);
            registers.x[28] = 0x1515;
            registers.v[31] = u128::from(2.5_f64.to_bits());
            ("$sp", "$x28", "$d31.f", "2.5")
        }
        GuestRegisters::Riscv64(registers) => {
            registers.x[2] = 0x5b;
            registers.x[31] = 0x1515;
            registers.f[31] = 2.5_f64.to_bits();
            ("$sp", "$t6", "$ft11.double", "2.5")
        }
        other => return Err(format!("{other:?}").into()),
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("core");
    let summary = CoreDump::new(&target.registers, &target)
        .with_signal(11)
        .with_note(b"test")
        .write(&mut File::create(&path)?)?;
    assert_eq!(summary.len, path.metadata()?.len());
    let commands = [
        format!("core-file {}", path.display()),
        "printf \"at %#lx\\n\", $pc".into(),
        format!("printf \"stack %#lx\\n\", {sp}"),
        format!("printf \"general %#lx\\n\", {general}"),
        format!("print {float}"),
        format!("x/1gx {DATA:#x}"),
        format!("x/2i {START:#x}"),
    ];
    let output = gdb::run(gdb::command(&commands)).map_err(|error| error.to_string())?;
    let expected = [
        "SIGSEGV".into(),
        format!("at {START:#x}"),
        "stack 0x5b".into(),
        "general 0x1515".into(),
        value.into(),
        "0x1122334455667788".into(),
        "nop".into(),
        "nop".into(),
    ];
    gdb::expect_lines(&output, &expected)
}

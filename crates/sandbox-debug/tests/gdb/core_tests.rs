//! gdb on core dumps.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    process::Command,
};

use boot_core::Arch;
use hv_core::GuestRegisters;
use hv_kvm_test::{
    CheckResult,
    gdb::{self, Test},
};
use object::{Object, ObjectSymbol};
use sandbox_debug::CoreDump;

use crate::fake::{DATA, FakeTarget, START};

pub(crate) const TESTS: &[Test] = &[
    ("core::gdb_opens_one_of_x86_64", || opens(Arch::X86_64)),
    ("core::gdb_opens_one_of_arm64", || opens(Arch::Aarch64)),
    ("core::gdb_opens_one_of_riscv64", || opens(Arch::Riscv64)),
];

/// Tests that also need a compiler of the architecture, by its name.
pub(crate) const COMPILED_TESTS: &[(&str, Test)] = &[
    (
        "x86_64-linux-gnu-gcc",
        ("core::gdb_unwinds_x86_64", || unwinds(Arch::X86_64)),
    ),
    (
        "aarch64-linux-gnu-gcc",
        ("core::gdb_unwinds_arm64", || unwinds(Arch::Aarch64)),
    ),
    (
        "riscv64-linux-gnu-gcc",
        ("core::gdb_unwinds_riscv64", || unwinds(Arch::Riscv64)),
    ),
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

/// Two functions without frame pointers, whose stack frames only the call frame information describes.
fn program(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::Aarch64 => (
            "aarch64-linux-gnu-gcc",
            ".globl _start, outer, inner
            _start: .cfi_startproc; bl outer; first: nop; .cfi_endproc
            outer: .cfi_startproc; stp x29, x30, [sp, -16]!; .cfi_def_cfa_offset 16; .cfi_offset 29, -16
            .cfi_offset 30, -8; bl inner; second: nop; .cfi_endproc
            inner: .cfi_startproc; sub sp, sp, 16; .cfi_def_cfa_offset 16; third: nop; .cfi_endproc
            ",
        ),
        Arch::Riscv64 => (
            "riscv64-linux-gnu-gcc",
            ".globl _start, outer, inner
            _start: .cfi_startproc; call outer; first: nop; .cfi_endproc
            outer: .cfi_startproc; addi sp, sp, -16; .cfi_def_cfa_offset 16; sd ra, 8(sp); .cfi_offset 1, -8
            call inner; second: nop; .cfi_endproc
            inner: .cfi_startproc; addi sp, sp, -16; .cfi_def_cfa_offset 16; third: nop; .cfi_endproc
            ",
        ),
        _ => (
            "x86_64-linux-gnu-gcc",
            ".globl _start, outer, inner
            _start: .cfi_startproc; call outer; first: nop; .cfi_endproc
            outer: .cfi_startproc; sub $8, %rsp; .cfi_def_cfa_offset 16; call inner; second: nop; .cfi_endproc
            inner: .cfi_startproc; sub $24, %rsp; .cfi_def_cfa_offset 32; third: nop; .cfi_endproc
            ",
        ),
    }
}

/// gdb finds the callers in a core dump and the program's ELF file, by the call frame information.
fn unwinds(arch: Arch) -> CheckResult {
    let folder = tempfile::tempdir()?;
    let [source, elf, core] = ["guest.s", "guest.elf", "core"].map(|name| folder.path().join(name));
    let (compiler, text) = program(arch);
    fs::write(&source, text)?;
    let compiled = Command::new(compiler)
        .args(["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"])
        .arg(format!("-Wl,-Ttext={START:#x}"))
        .arg("-o")
        .args([&elf, &source])
        .output()?;
    assert!(compiled.status.success(), "{compiled:?}");
    let bytes = fs::read(&elf)?;
    let file = object::File::parse(&*bytes)?;
    let symbols: BTreeMap<_, _> = file
        .symbols()
        .filter_map(|symbol| Some((symbol.name().ok()?, symbol.address())))
        .collect();
    let [first, second, third] = ["first", "second", "third"].map(|name| symbols[name]);
    let mut target = FakeTarget::new(arch);
    let at = usize::try_from(DATA - START)?;
    let mut word = |offset: usize, value: u64| {
        target.memory[at + offset..][..8].copy_from_slice(&value.to_le_bytes());
    };
    match &mut target.registers {
        GuestRegisters::X86_64(registers) => {
            (registers.cpu.rip, registers.cpu.rsp) = (third, DATA);
            word(24, second);
            word(40, first);
        }
        GuestRegisters::Aarch64(registers) => {
            registers.pc = third;
            registers.set_sp(DATA);
            registers.x[30] = second;
            word(24, first);
        }
        GuestRegisters::Riscv64(registers) => {
            (registers.pc, registers.x[1], registers.x[2]) = (third, second, DATA);
            word(24, first);
        }
        other => return Err(format!("{other:?}").into()),
    }
    CoreDump::new(&target.registers, &target).write(&mut File::create(&core)?)?;
    let commands = [
        format!("file {}", elf.display()),
        format!("core-file {}", core.display()),
        "backtrace".into(),
    ];
    let output = gdb::run(gdb::command(&commands)).map_err(|error| error.to_string())?;
    // Callers are named by their call instruction.
    let lines = [(third, "third"), (second, "outer"), (first, "_start")]
        .map(|(address, name)| format!("{address:#018x} in {name} ()"));
    gdb::expect_lines(&output, &lines)
}

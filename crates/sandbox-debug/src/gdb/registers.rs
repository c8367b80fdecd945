//! Registers in gdb's order, and their description.

use std::fmt::Write;

use boot_core::Arch;
use gdbstub::arch;
use hv_core::{AarchRegisters, GuestRegisters, RiscvRegisters, X86Registers};

/// Any architecture of a guest: its registers are described at run time.
#[derive(Debug)]
pub(super) enum AnyArch {}

impl arch::Arch for AnyArch {
    type Usize = u64;
    type Registers = RegisterBlock;
    type BreakpointKind = usize;
    type RegId = ();
}

/// The bytes of all registers of [`description`], in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegisterBlock {
    bytes: Vec<u8>,
    pc: u64,
}

impl arch::Registers for RegisterBlock {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|byte| write_byte(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

/// A register of gdb's standard features (GDB manual, "Standard Target Features").
struct Register {
    name: String,
    bits: u32,
    kind: &'static str,
}

/// A feature: registers that gdb knows by their names.
struct Feature {
    name: &'static str,
    registers: Vec<Register>,
}

fn feature(name: &'static str) -> Feature {
    Feature {
        name,
        registers: Vec::new(),
    }
}

impl Feature {
    fn with<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
        bits: u32,
        kind: &'static str,
    ) -> Self {
        let registers = names.into_iter().map(|name| Register {
            name: name.into(),
            bits,
            kind,
        });
        self.registers.extend(registers);
        self
    }
}

fn numbered(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}{number}"))
}

fn features(arch: Arch) -> Vec<Feature> {
    match arch {
        Arch::Aarch64 => vec![
            feature("org.gnu.gdb.aarch64.core")
                .with(numbered("x", 31), 64, "int")
                .with(["sp"], 64, "data_ptr")
                .with(["pc"], 64, "code_ptr")
                .with(["cpsr"], 32, "int"),
            feature("org.gnu.gdb.aarch64.fpu")
                .with(numbered("v", 32), 128, "uint128")
                .with(["fpsr", "fpcr"], 32, "int"),
        ],
        Arch::Riscv64 => vec![
            feature("org.gnu.gdb.riscv.cpu")
                .with(numbered("x", 32), 64, "int")
                .with(["pc"], 64, "code_ptr"),
            feature("org.gnu.gdb.riscv.fpu")
                .with(numbered("f", 32), 64, "ieee_double")
                .with(["fflags", "frm", "fcsr"], 32, "int"),
        ],
        _ => vec![
            feature("org.gnu.gdb.i386.core")
                .with(["rax", "rbx", "rcx", "rdx", "rsi", "rdi"], 64, "int64")
                .with(["rbp", "rsp"], 64, "data_ptr")
                .with((8..16).map(|number| format!("r{number}")), 64, "int64")
                .with(["rip"], 64, "code_ptr")
                .with(["eflags"], 32, "int32")
                .with(["cs", "ss", "ds", "es", "fs", "gs"], 32, "int32")
                .with(numbered("st", 8), 80, "i387_ext")
                .with(
                    [
                        "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop",
                    ],
                    32,
                    "int",
                ),
            feature("org.gnu.gdb.i386.sse")
                .with(numbered("xmm", 16), 128, "uint128")
                .with(["mxcsr"], 32, "int32"),
            feature("org.gnu.gdb.i386.segments").with(["fs_base", "gs_base"], 64, "int"),
        ],
    }
}

/// The target description of an architecture in XML (GDB manual, "Target Description Format").
pub(super) fn description(arch: Arch) -> String {
    let name = match arch {
        Arch::Aarch64 => "aarch64",
        Arch::Riscv64 => "riscv:rv64",
        _ => "i386:x86-64",
    };
    let mut xml = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
         <architecture>{name}</architecture>"
    );
    for feature in features(arch) {
        let _ = write!(xml, "<feature name=\"{}\">", feature.name);
        for Register { name, bits, kind } in feature.registers {
            let _ = write!(xml, "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"/>");
        }
        xml.push_str("</feature>");
    }
    xml.push_str("</target>");
    xml
}

/// The registers in the order of their description.
pub(super) fn encode(registers: &GuestRegisters) -> RegisterBlock {
    let mut bytes = Vec::new();
    match registers {
        GuestRegisters::X86_64(registers) => encode_x86_64(registers, &mut bytes),
        GuestRegisters::Aarch64(registers) => encode_aarch64(registers, &mut bytes),
        GuestRegisters::Riscv64(registers) => encode_riscv64(registers, &mut bytes),
        _ => {}
    }
    RegisterBlock {
        bytes,
        pc: registers.pc(),
    }
}

/// Replaces registers. Those that the block does not have keep their values.
pub(super) fn decode(block: &RegisterBlock, registers: &mut GuestRegisters) {
    let mut input = Input(&block.bytes);
    // `None` says that the block has ended.
    let _ = match registers {
        GuestRegisters::X86_64(registers) => decode_x86_64(&mut input, registers),
        GuestRegisters::Aarch64(registers) => decode_aarch64(&mut input, registers),
        GuestRegisters::Riscv64(registers) => decode_riscv64(&mut input, registers),
        _ => None,
    };
}

/// The rest of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// Replaces a register of 64 bits.
    fn set(&mut self, register: &mut u64) -> Option<()> {
        *register = u64::from_le_bytes(self.take()?);
        Some(())
    }
}

/// The general registers of x86_64 in gdb's order.
macro_rules! general {
    ($cpu:expr) => {{
        let cpu = $cpu;
        [
            &mut cpu.rax,
            &mut cpu.rbx,
            &mut cpu.rcx,
            &mut cpu.rdx,
            &mut cpu.rsi,
            &mut cpu.rdi,
            &mut cpu.rbp,
            &mut cpu.rsp,
            &mut cpu.r8,
            &mut cpu.r9,
            &mut cpu.r10,
            &mut cpu.r11,
            &mut cpu.r12,
            &mut cpu.r13,
            &mut cpu.r14,
            &mut cpu.r15,
            &mut cpu.rip,
        ]
    }};
}

/// Offsets in the area of `FXSAVE64` (SDM 1, table 10-2).
mod fxsave {
    pub(super) const FTW: usize = 4;
    pub(super) const ST: usize = 32;
    pub(super) const XMM: usize = 160;
    pub(super) const MXCSR: usize = 24;
    /// Offset and length of FCW, FSW, FOP; of offset and selector of the last instruction and its operand.
    pub(super) const FCW: (usize, usize) = (0, 2);
    pub(super) const FSW: (usize, usize) = (2, 2);
    pub(super) const FOP: (usize, usize) = (6, 2);
    pub(super) const FIP: (usize, usize) = (8, 4);
    pub(super) const FCS: (usize, usize) = (12, 4);
    pub(super) const FDP: (usize, usize) = (16, 4);
    pub(super) const FDS: (usize, usize) = (20, 4);
}

/// The registers after the tags, in gdb's order.
const X87: [(usize, usize); 5] = [fxsave::FCS, fxsave::FIP, fxsave::FDS, fxsave::FDP, fxsave::FOP];

fn encode_x86_64(registers: &X86Registers, bytes: &mut Vec<u8>) {
    let mut cpu = registers.cpu;
    for register in general!(&mut cpu) {
        bytes.extend_from_slice(&register.to_le_bytes());
    }
    let flags = u32::try_from(cpu.rflags & u64::from(u32::MAX)).unwrap_or_default();
    bytes.extend_from_slice(&flags.to_le_bytes());
    for segment in [cpu.cs, cpu.ss, cpu.ds, cpu.es, cpu.fs, cpu.gs] {
        bytes.extend_from_slice(&u32::from(segment.selector).to_le_bytes());
    }
    let area = registers.fxsave();
    let field = |bytes: &mut Vec<u8>, (at, len): (usize, usize)| {
        let mut word = [0; 4];
        let from = area.get(at..).unwrap_or_default();
        word.iter_mut()
            .zip(from.iter().take(len))
            .for_each(|(to, from)| *to = *from);
        bytes.extend_from_slice(&word);
    };
    for number in 0..8 {
        let at = fxsave::ST.saturating_add(number * 16);
        bytes.extend(area.iter().skip(at).take(10));
    }
    field(bytes, fxsave::FCW);
    field(bytes, fxsave::FSW);
    bytes.extend_from_slice(&full_tags(area[fxsave::FTW]).to_le_bytes());
    for place in X87 {
        field(bytes, place);
    }
    bytes.extend(area.iter().skip(fxsave::XMM).take(16 * 16));
    field(bytes, (fxsave::MXCSR, 4));
    bytes.extend_from_slice(&cpu.fs.base.to_le_bytes());
    bytes.extend_from_slice(&cpu.gs.base.to_le_bytes());
}

/// Writes all but the segment selectors, which are nothing without their descriptors.
fn decode_x86_64(input: &mut Input<'_>, registers: &mut X86Registers) -> Option<()> {
    for register in general!(&mut registers.cpu) {
        input.set(register)?;
    }
    let flags = u64::from(input.u32()?);
    registers.cpu.rflags = registers.cpu.rflags & !u64::from(u32::MAX) | flags;
    input.take::<24>()?;
    let mut area = registers.fxsave();
    let mut set = |at: usize, from: &[u8]| {
        let to = area.get_mut(at..).unwrap_or_default();
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    };
    for number in 0..8 {
        set(fxsave::ST.saturating_add(number * 16), &input.take::<10>()?);
    }
    for (at, len) in [fxsave::FCW, fxsave::FSW] {
        set(at, input.take::<4>()?.get(..len)?);
    }
    set(fxsave::FTW, &[abridged_tags(input.u32()?)]);
    for (at, len) in X87 {
        set(at, input.take::<4>()?.get(..len)?);
    }
    set(fxsave::XMM, &input.take::<256>()?);
    set(fxsave::MXCSR, &input.take::<4>()?);
    registers.set_fxsave(&area);
    input.set(&mut registers.cpu.fs.base)?;
    input.set(&mut registers.cpu.gs.base)
}

/// The two bits of each tag from the one bit of `FXSAVE`: 0 valid, 3 empty.
fn full_tags(abridged: u8) -> u32 {
    let is_empty = |number: &u32| abridged >> number & 1 == 0;
    (0..8).filter(is_empty).map(|number| 3 << (2 * number)).sum()
}

fn abridged_tags(full: u32) -> u8 {
    let is_valid = |number: &u32| full >> (2 * number) & 3 != 3;
    (0..8).filter(is_valid).map(|number| 1 << number).sum()
}

fn encode_aarch64(registers: &AarchRegisters, bytes: &mut Vec<u8>) {
    bytes.extend(registers.x.iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend_from_slice(&registers.sp().to_le_bytes());
    bytes.extend_from_slice(&registers.pc.to_le_bytes());
    let state = u32::try_from(registers.pstate & u64::from(u32::MAX)).unwrap_or_default();
    bytes.extend_from_slice(&state.to_le_bytes());
    bytes.extend(registers.v.iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend_from_slice(&registers.fpsr.to_le_bytes());
    bytes.extend_from_slice(&registers.fpcr.to_le_bytes());
}

fn decode_aarch64(input: &mut Input<'_>, registers: &mut AarchRegisters) -> Option<()> {
    for register in &mut registers.x {
        input.set(register)?;
    }
    let mut sp = 0;
    input.set(&mut sp)?;
    input.set(&mut registers.pc)?;
    let state = u64::from(input.u32()?);
    registers.pstate = registers.pstate & !u64::from(u32::MAX) | state;
    // The new state selects the stack pointer.
    registers.set_sp(sp);
    for register in &mut registers.v {
        *register = u128::from_le_bytes(input.take()?);
    }
    registers.fpsr = input.u32()?;
    registers.fpcr = input.u32()?;
    Some(())
}

fn encode_riscv64(registers: &RiscvRegisters, bytes: &mut Vec<u8>) {
    bytes.extend(registers.x.iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend_from_slice(&registers.pc.to_le_bytes());
    bytes.extend(registers.f.iter().flat_map(|value| value.to_le_bytes()));
    let fcsr = registers.fcsr;
    for value in [fcsr & 0x1f, fcsr >> 5 & 7, fcsr] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn decode_riscv64(input: &mut Input<'_>, registers: &mut RiscvRegisters) -> Option<()> {
    for register in &mut registers.x {
        input.set(register)?;
    }
    registers.x[0] = 0;
    input.set(&mut registers.pc)?;
    for register in &mut registers.f {
        input.set(register)?;
    }
    let old = registers.fcsr;
    let (flags, rounding, whole) = (input.u32()?, input.u32()?, input.u32()?);
    // gdb writes back what it read, but for the register that its user changed.
    registers.fcsr = if whole == old {
        (flags & 0x1f) | (rounding & 7) << 5
    } else {
        whole
    };
    Some(())
}

#[cfg(test)]
mod tests {
    use boot_core::{
        CpuState,
        cpu::{aarch64, riscv64, x86_64},
    };

    use super::*;

    fn all() -> Vec<GuestRegisters> {
        let states: [CpuState; 3] = [
            x86_64::State::long_mode(0x1000, 0, 8, 16).into(),
            aarch64::State::new(0x1000).into(),
            riscv64::State::new(0x1000).into(),
        ];
        states
            .iter()
            .map(|state| GuestRegisters::new(state).unwrap())
            .collect()
    }

    #[test]
    fn a_block_has_the_described_length() {
        for registers in all() {
            let features = features(registers.arch());
            let described = features.iter().flat_map(|feature| &feature.registers);
            let bits: u32 = described.map(|register| register.bits).sum();
            let block = encode(&registers);
            assert_eq!(block.bytes.len(), usize::try_from(bits / 8).unwrap());
            assert_eq!(block.pc, 0x1000);
        }
    }

    #[test]
    fn written_registers_are_read_back() {
        for registers in all() {
            // All bits of all registers, but for those that no register has.
            let mut block = encode(&registers);
            for (byte, value) in block.bytes.iter_mut().zip((1..=u8::MAX).cycle()) {
                *byte = value;
            }
            let mut changed = registers.clone();
            decode(&block, &mut changed);
            let back = encode(&changed);
            let mut again = registers.clone();
            decode(&back, &mut again);
            assert_eq!(again, changed);
            let kept = back
                .bytes
                .iter()
                .zip(&block.bytes)
                .filter(|(a, b)| a == b)
                .count();
            // Selectors, reserved halves of x87 registers, x0 and fcsr are not kept.
            assert!(kept + 60 > block.bytes.len(), "{kept} of {}", block.bytes.len());
            // A block that is too short changes its start only.
            let mut short = registers.clone();
            block.bytes.truncate(16);
            decode(&block, &mut short);
            assert_eq!(short.pc(), registers.pc());
            assert_ne!(short, registers);
        }
    }

    #[test]
    fn registers_are_where_gdb_expects_them() {
        let [
            GuestRegisters::X86_64(mut x86),
            GuestRegisters::Aarch64(mut arm),
            GuestRegisters::Riscv64(mut riscv),
        ] = <[GuestRegisters; 3]>::try_from(all()).unwrap()
        else {
            panic!("three architectures");
        };
        let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        // Offsets of gdb's amd64-linux, aarch64 and riscv64 descriptions.
        x86.cpu.rsp = 7;
        x86.cpu.r15 = 15;
        x86.cpu.gs.base = 0x65;
        let mut area = x86.fxsave();
        area[32] = 0x80;
        area[160 + 15 * 16] = 0xff;
        x86.set_fxsave(&area);
        let bytes = encode(&GuestRegisters::X86_64(x86)).bytes;
        assert_eq!((word(&bytes, 56), word(&bytes, 120)), (7, 15));
        assert_eq!((word(&bytes, 128), bytes[136]), (0x1000, 2));
        assert_eq!((bytes[164], bytes[244], bytes[276 + 240]), (0x80, 0x7f, 0xff));
        assert_eq!((word(&bytes, 532) & 0xffff, word(&bytes, 544)), (0x1f80, 0x65));
        arm.set_sp(31);
        arm.v[1] = 0x11;
        arm.fpcr = 0xfc;
        let bytes = encode(&GuestRegisters::Aarch64(arm)).bytes;
        assert_eq!((word(&bytes, 248), word(&bytes, 256)), (31, 0x1000));
        assert_eq!((bytes[264], bytes[268 + 16], bytes[784]), (0xc5, 0x11, 0xfc));
        riscv.x[31] = 31;
        riscv.f[1] = 0xf1;
        riscv.fcsr = 0xa3;
        let bytes = encode(&GuestRegisters::Riscv64(riscv)).bytes;
        assert_eq!(
            (word(&bytes, 248), word(&bytes, 256), word(&bytes, 272)),
            (31, 0x1000, 0xf1)
        );
        assert_eq!((bytes[520], bytes[524], bytes[528]), (3, 5, 0xa3));
    }

    #[test]
    fn each_part_of_fcsr_can_be_written() {
        let mut riscv = RiscvRegisters::new(&riscv64::State::new(0));
        riscv.fcsr = 0xa3;
        let block = encode(&GuestRegisters::Riscv64(Box::new(riscv.clone())));
        for (at, value, expected) in [(520, 0x1c, 0xbc), (524, 1, 0x23), (528, 0x44, 0x44)] {
            let mut registers = GuestRegisters::Riscv64(Box::new(riscv.clone()));
            let mut block = block.clone();
            block.bytes[at] = value;
            decode(&block, &mut registers);
            let GuestRegisters::Riscv64(registers) = registers else {
                panic!("riscv64");
            };
            assert_eq!(registers.fcsr, expected);
        }
    }

    #[test]
    fn tags_are_those_of_the_x87() {
        assert_eq!(
            (full_tags(0), full_tags(0xff), full_tags(0x81)),
            (0xffff, 0, 0x3ffc)
        );
        for abridged in 0..=u8::MAX {
            assert_eq!(abridged_tags(full_tags(abridged)), abridged);
        }
    }
}

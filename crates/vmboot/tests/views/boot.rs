//! Boots as options of the command, and the same boots planned by the library.

use std::fs;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vmboot::boot_core::machine::Isa;
use vmboot::boot_core::{
    Arch, BootPlan, BootRequest, ByteSource, Machine, MemoryMap, Module, RawCmdline, SliceMemory, Sources,
    detect,
};

use crate::files;

/// RAM of the machines.
pub(crate) const RAM: u64 = 64 << 20;
const CMDLINE: &str = "console=ttyS0";

/// A boot of a generated kernel.
pub(crate) struct Boot {
    pub(crate) protocol: &'static str,
    kernel: Vec<u8>,
    initrd: Option<Vec<u8>>,
    modules: Vec<Vec<u8>>,
}

/// Bytes that differ from those of other seeds, with a page of zeros.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len)
        .map(|at| u8::try_from(at % 251).unwrap() ^ seed)
        .collect();
    if len > 3 * 4096 {
        bytes[4096..2 * 4096].fill(0);
    }
    bytes
}

/// An x86_64 ELF kernel with a header in its first bytes of code.
fn elf_with_header(header: &[u32]) -> Vec<u8> {
    let mut kernel = files::kernel();
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    files::put(&mut kernel, 0x1000, &header);
    kernel
}

/// An x86_64 ELF kernel of `count` segments of 16 bytes, a page apart.
pub(crate) fn elf_of_segments(count: u16) -> Vec<u8> {
    let mut file = files::kernel();
    let content = (64 + 56 * usize::from(count)).next_multiple_of(0x1000);
    files::put(&mut file, 56, &count.to_le_bytes());
    for index in 0..count {
        let start = files::START + 0x1000 * u64::from(index);
        let at = 64 + 56 * usize::from(index);
        files::put(&mut file, at, &[1, 0, 0, 0, 5, 0, 0, 0]);
        for (i, word) in [content as u64, start, start, 16, 16, 0x1000].iter().enumerate() {
            files::put(&mut file, at + 8 + 8 * i, &word.to_le_bytes());
        }
    }
    files::put(&mut file, content, &[0x90; 16]);
    file
}

/// A boot for each protocol.
pub(crate) fn boots() -> Vec<Boot> {
    const MULTIBOOT: u32 = 0x1bad_b002;
    const MULTIBOOT2: u32 = 0xe852_50d6;
    let initrd = || Some(bytes(1, 0x5004));
    let modules = |count| (0..count).map(|seed| bytes(seed, 5000 * (usize::from(seed) + 1)));
    let boot = |protocol, kernel, initrd, count| Boot {
        protocol,
        kernel,
        initrd,
        modules: modules(count).collect(),
    };
    vec![
        boot("linux", files::kernel(), initrd(), 0),
        boot("pvh", files::kernel(), initrd(), 20),
        boot(
            "multiboot",
            elf_with_header(&[MULTIBOOT, 0, MULTIBOOT.wrapping_neg()]),
            None,
            2,
        ),
        boot(
            "multiboot2",
            elf_with_header(&[
                MULTIBOOT2,
                0,
                24,
                MULTIBOOT2.wrapping_add(24).wrapping_neg(),
                0,
                8,
            ]),
            None,
            2,
        ),
        boot("fdt-arm64", files::arm64_image(0, 0x8000, 0), initrd(), 0),
        boot("fdt-riscv64", files::riscv_image(0x20_0000, 0x8000), initrd(), 0),
    ]
}

impl Boot {
    /// Writes the files into `dir`; the arguments of `vmboot plan` for them.
    pub(crate) fn args(&self, dir: &Path, kernel: &str) -> Vec<String> {
        let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
        let memory = format!("{RAM}B");
        let options = [
            "plan",
            "--memory",
            &memory,
            "--no-acpi",
            "--cmdline",
            CMDLINE,
            "--protocol",
            self.protocol,
        ];
        let mut args: Vec<String> = options.map(ToOwned::to_owned).to_vec();
        if let Some(initrd) = &self.initrd {
            args.extend(["--initrd".to_owned(), text(files::write(dir, "initrd", initrd))]);
        }
        for (number, module) in self.modules.iter().enumerate() {
            let path = text(files::write(dir, &format!("module {number}"), module));
            args.extend(["--module".to_owned(), format!("{path},m{number}")]);
        }
        args.push(text(files::write(dir, kernel, &self.kernel)));
        args
    }

    /// The plan, and memory into which it was loaded; `fill` is the value of other bytes.
    pub(crate) fn loaded(&self, fill: u8) -> (BootPlan, Memory) {
        self.planned(|plan, sources, machine| {
            let mut memory = Memory::new(&machine.memory, fill);
            plan.load(sources, &mut memory.access()).unwrap();
            (plan.clone(), memory)
        })
    }

    /// Calls `f` with the plan, its files and the machine.
    pub(crate) fn planned<T>(&self, f: impl FnOnce(&BootPlan, &Sources<'_>, &Machine) -> T) -> T {
        let kernel = self.kernel.as_slice();
        let image = detect(&vmboot::formats().unwrap(), &kernel).unwrap();
        let one = NonZeroU32::MIN;
        let machine = match image.arch() {
            Arch::X86_64 => Machine::new(Arch::X86_64, MemoryMap::pc(RAM).unwrap()),
            Arch::Aarch64 => hv_core::virt::arm64_machine(RAM, one, hv_core::virt::Gic::V3WithIts).unwrap(),
            _ => {
                let (isa, irqchip) = (Isa::rv64gc(), hv_core::virt::RiscvIrqchip::default());
                hv_core::virt::riscv64_machine(RAM, one, &isa, 10_000_000, irqchip).unwrap()
            }
        };
        let cmdline = RawCmdline::from_bytes(CMDLINE.as_bytes()).unwrap();
        let line = |number| RawCmdline::from_bytes(format!("m{number}").as_bytes()).unwrap();
        let modules: Vec<_> = (0..)
            .zip(&self.modules)
            .map(|(number, module): (u32, _)| Module::new(module.len() as u64).with_cmdline(line(number)))
            .collect();
        let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
        request.initrd_len = self
            .initrd
            .as_ref()
            .and_then(|initrd| NonZeroU64::new(initrd.len() as u64));
        let protocols = vmboot::protocols().unwrap();
        let protocol = protocols
            .iter()
            .find(|protocol| protocol.name() == self.protocol)
            .unwrap();
        let plan = protocol.plan(&request).unwrap();
        let slices: Vec<&[u8]> = self.modules.iter().map(Vec::as_slice).collect();
        let modules: Vec<&dyn ByteSource> = slices.iter().map(|module| module as &dyn ByteSource).collect();
        let mut sources = Sources::kernel(&kernel).with_modules(&modules);
        let initrd = self.initrd.as_deref();
        sources.initrd = initrd.as_ref().map(|initrd| initrd as &dyn ByteSource);
        f(&plan, &sources, &machine)
    }
}

/// Guest memory from the lowest to the highest address of RAM.
#[derive(PartialEq, Eq)]
pub(crate) struct Memory {
    base: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Memory {
    fn new(map: &MemoryMap, fill: u8) -> Self {
        // The machines have one range of RAM, apart from the hole of a PC.
        let base = map.regions()[0].range.start();
        let bytes = vec![fill; usize::try_from(RAM).unwrap()];
        Self { base, bytes }
    }

    pub(crate) fn access(&mut self) -> SliceMemory<'_> {
        let mut memory = SliceMemory::new();
        memory.add(self.base, &mut self.bytes).unwrap();
        memory
    }

    /// Memory of the same addresses, filled with `fill`.
    pub(crate) fn filled(&self, fill: u8) -> Self {
        Self {
            base: self.base,
            bytes: vec![fill; self.bytes.len()],
        }
    }
}

/// Runs the command.
pub(crate) fn vmboot(args: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(args)
        .output()
        .unwrap()
}

/// The names of the files in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

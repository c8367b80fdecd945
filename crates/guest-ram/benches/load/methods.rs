//! The methods that are compared, and their input and memory.
#![expect(
    unsafe_code,
    reason = "the bare pread reads into mapped memory, as the code it is compared with does"
)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Cmdline, GuestMemory, GuestRange, KernelFormat, LoadContent,
    Machine, MemoryMap, Sources, detect,
};
use guest_ram::{AccessOptions, FileMapping, GuestRam, HugePages, MappableFile, PreparedBoot, RamOptions};
use linux_loader::loader::{self, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::images::{Input, Kind};

const RAM_LEN: u64 = 256 << 20;

/// What holds of the memory of all methods.
const OPTIONS: AccessOptions = AccessOptions::new().anonymous_private(true);

const FORMATS: [&dyn KernelFormat; 2] = [&fmt_bzimage::FORMAT, &fmt_elf::FORMAT];

/// How memory is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pages {
    /// The default of this workspace.
    Huge,
    /// As `GuestMemoryMmap::from_ranges` does.
    Plain,
}

/// The default first.
pub(crate) const MEMORIES: [Pages; 2] = [Pages::Huge, Pages::Plain];

impl Pages {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Huge => "huge",
            Self::Plain => "plain",
        }
    }

    pub(crate) fn map(self) -> GuestRam {
        let huge_pages = match self {
            Self::Huge => HugePages::Advise,
            Self::Plain => HugePages::HostDefault,
        };
        let options = RamOptions::new().huge_pages(huge_pages);
        options.build(&MemoryMap::pc(RAM_LEN).unwrap()).unwrap()
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    /// This workspace, from the file to memory that is ready to boot: detect, parse, plan, load.
    All,
    /// The same on one thread, like linux-loader.
    AllOneThread,
    /// Only the loading.
    Load,
    /// Only the kernel's segments: copied from the file, and zeroed.
    Copy,
    /// The same on one thread.
    CopyOneThread,
    /// As `Copy`, with pages that are made with their bytes (`AccessOptions::userfaultfd`).
    Make,
    /// The same on one thread.
    MakeOneThread,
    /// Only the kernel's segments: mapped from the file, which was examined before, and zeroed.
    Map,
    /// All of the plan, prepared before.
    Prepared,
    /// linux-loader: parses and copies, but does not zero.
    LinuxLoader,
    /// linux-loader, and then the structures that it leaves to the VMM: the zero page, command line, GDT and page tables,
    /// copied from the plan.
    LinuxLoaderAll,
    /// One `pread` into memory for each segment.
    Pread,
    /// One copy for each segment, from a buffer with the file.
    Memcpy,
}

/// All methods, in the order of the table's columns.
pub(crate) const METHODS: [Method; 13] = [
    Method::All,
    Method::AllOneThread,
    Method::Load,
    Method::Copy,
    Method::CopyOneThread,
    Method::Make,
    Method::MakeOneThread,
    Method::Map,
    Method::Prepared,
    Method::LinuxLoader,
    Method::LinuxLoaderAll,
    Method::Pread,
    Method::Memcpy,
];

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "parse+plan+load",
            Self::AllOneThread => "parse+plan+load/1-thread",
            Self::Load => "load",
            Self::Copy => "copy",
            Self::CopyOneThread => "copy/1-thread",
            Self::Make => "copy/userfaultfd",
            Self::MakeOneThread => "copy/userfaultfd/1-thread",
            Self::Map => "map",
            Self::Prepared => "prepared",
            Self::LinuxLoader => "linux-loader",
            Self::LinuxLoaderAll => "linux-loader+boot-data",
            Self::Pread => "pread",
            Self::Memcpy => "memcpy",
        }
    }
}

fn plan(file: &File, machine: &Machine, cmdline: &Cmdline) -> BootPlan {
    let image = detect(&FORMATS, file).unwrap();
    let request = BootRequest::new(&image, machine, cmdline);
    proto_linux_x86::PROTOCOL.plan(&request).unwrap()
}

/// A kernel and the input of the methods.
pub(crate) struct Bench {
    input: Input,
    /// The file of `input` by another descriptor, which is open until the process ends.
    file: &'static File,
    examined: MappableFile<'static>,
    machine: Machine,
    cmdline: Cmdline,
    plan: BootPlan,
    prepared: PreparedBoot,
    /// The loads of the plan from the file: (offset in the file, range in the guest).
    copies: Vec<(u64, GuestRange)>,
    bytes: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(input: Input) -> Self {
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(RAM_LEN).unwrap());
        let cmdline: Cmdline = "console=ttyS0 panic=-1".parse().unwrap();
        let plan = plan(&input.file, &machine, &cmdline);
        let copies = plan.loads().iter().filter_map(|load| match &load.content {
            LoadContent::File { range, .. } => Some((range.offset(), load.range)),
            _ => None,
        });
        let copies = copies.collect();
        let len = usize::try_from(input.file.metadata().unwrap().len()).unwrap();
        let mut bytes = vec![0; len];
        input.file.read_exact_at(&mut bytes, 0).unwrap();
        let prepared = PreparedBoot::new(&plan, &Sources::kernel(&input.file)).unwrap();
        let file = &*Box::leak(Box::new(input.file.try_clone().unwrap()));
        let examined = MappableFile::new(file).unwrap();
        let mut bench = Self {
            input,
            file,
            examined,
            machine,
            cmdline,
            plan,
            prepared,
            copies,
            bytes,
        };
        bench.check();
        bench
    }

    pub(crate) fn name(&self) -> &'static str {
        self.input.name
    }

    pub(crate) fn prepared(&self) -> &PreparedBoot {
        &self.prepared
    }

    /// Number of bytes of the file that are loaded.
    pub(crate) fn loaded_len(&self) -> u64 {
        self.copies.iter().map(|(_, range)| range.len()).sum()
    }

    /// Writes to every page that any method will write to.
    pub(crate) fn use_up(&self, ram: &mut GuestRam) {
        let ones = vec![0xff; 1 << 20];
        for range in ram.regions().map(|region| region.range()).collect::<Vec<_>>() {
            let end = range.end().min(self.plan.kernel().end());
            for addr in (range.start()..end).step_by(ones.len()) {
                let len = usize::try_from((end - addr).min(1 << 20)).unwrap();
                ram.write(addr, &ones[..len]).unwrap();
            }
        }
    }

    /// Loads once; a failure ends the bench.
    pub(crate) fn load(&mut self, method: Method, ram: &mut GuestRam) {
        let sources = Sources::kernel(self.file);
        match method {
            Method::All => self.all(ram),
            Method::AllOneThread => self.all(&mut on_one_thread(ram, OPTIONS)),
            Method::Load => self.plan.load(&sources, ram).unwrap(),
            Method::Copy => self.copy(ram),
            Method::CopyOneThread => self.copy(&mut on_one_thread(ram, OPTIONS)),
            Method::Make => self.copy(&mut ram.clone().with_access(OPTIONS.userfaultfd(true))),
            Method::MakeOneThread => self.copy(&mut on_one_thread(ram, OPTIONS.userfaultfd(true))),
            Method::Map => {
                let mapper = ram.map_files(FileMapping::Trusted);
                self.copy(&mut mapper.examined(&[self.examined]));
            }
            Method::Prepared => self.prepared.load(ram).unwrap(),
            Method::LinuxLoader => self.linux_loader(ram),
            Method::LinuxLoaderAll => {
                self.linux_loader(ram);
                for load in self.plan.loads() {
                    if let LoadContent::Bytes(bytes) = &load.content {
                        let target = GuestAddress(load.range.start());
                        ram.memory().write_slice(bytes, target).unwrap();
                    }
                }
            }
            Method::Pread => {
                for &(offset, range) in &self.copies {
                    pread(self.file, offset, range, ram);
                }
            }
            Method::Memcpy => {
                for &(offset, range) in &self.copies {
                    let from = usize::try_from(offset).unwrap();
                    let len = usize::try_from(range.len()).unwrap();
                    let target = GuestAddress(range.start());
                    ram.memory()
                        .write_slice(&self.bytes[from..from + len], target)
                        .unwrap();
                }
            }
        }
    }

    fn all(&self, ram: &mut GuestRam) {
        let plan = plan(self.file, &self.machine, &self.cmdline);
        plan.load(&Sources::kernel(self.file), ram).unwrap();
    }

    fn copy(&self, ram: &mut dyn GuestMemory) {
        for &(offset, range) in &self.copies {
            ram.copy_from(range, self.file, offset).unwrap();
        }
        let loads = self.plan.loads().iter();
        for load in loads.filter(|load| load.content == LoadContent::Zeros) {
            ram.zero(load.range).unwrap();
        }
    }

    fn linux_loader(&mut self, ram: &GuestRam) {
        let (memory, file) = (&**ram.memory(), &mut self.input.file);
        match self.input.kind {
            Kind::Elf => loader::Elf::load(memory, None, file, None).unwrap(),
            Kind::BzImage => {
                // At the address that the plan has, too: 1 MiB, its default, cannot have huge pages.
                let start = GuestAddress(self.plan.kernel().start());
                loader::BzImage::load(memory, Some(start), file, None).unwrap()
            }
        };
    }

    /// Checks that every method loads the kernel's bytes into used memory.
    fn check(&mut self) {
        for method in METHODS {
            let mut ram = Pages::Plain.map();
            self.use_up(&mut ram);
            self.load(method, &mut ram);
            for &(offset, range) in &self.copies {
                let len = usize::try_from(range.len()).unwrap();
                let from = usize::try_from(offset).unwrap();
                let mut found = vec![0; len];
                ram.read(range.start(), &mut found).unwrap();
                let expected = &self.bytes[from..from + len];
                assert!(found == expected, "{} by {}: {range}", self.name(), method.name());
            }
        }
    }
}

/// The same memory, whose copies use one thread.
fn on_one_thread(ram: &GuestRam, options: AccessOptions) -> GuestRam {
    ram.clone().with_access(options.copy_threads(1))
}

/// The minimum of work to read a part of a file into memory.
fn pread(file: &File, offset: u64, range: GuestRange, ram: &GuestRam) {
    let len = usize::try_from(range.len()).unwrap();
    let slice = ram.memory().get_slice(GuestAddress(range.start()), len).unwrap();
    let start = slice.ptr_guard_mut();
    let mut done = 0;
    while done < len {
        let at = libc::off_t::try_from(offset).unwrap() + libc::off_t::try_from(done).unwrap();
        // SAFETY: `done` is less than the length of the slice.
        let target = unsafe { start.as_ptr().add(done) };
        // SAFETY: the slice proves that the bytes up to its end are mapped and that no Rust reference to them exists.
        let read = unsafe { libc::pread(file.as_raw_fd(), target.cast(), len - done, at) };
        done += usize::try_from(read).ok().filter(|&read| read > 0).unwrap();
    }
}

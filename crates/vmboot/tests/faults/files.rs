//! Real files that become shorter, and descriptors that cannot be read.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use boot_core::{
    BackingStore, ByteSource, GuestMemory, GuestRange, LoadError, MemoryError, ReadError, ReadErrorKind,
};
use guest_ram::GuestRam;
use libtest_mimic::Failed;

use crate::boot::{INITRD, Kernel, causes, is_caused_by, load, plans};
use crate::loaded::{Expected, assert_untouched, ram};
use crate::samples::{self, write};

/// Lengths that a file is truncated to.
fn cuts(len: usize) -> [u64; 5] {
    [0, 1, 0x40, len / 2, len - 1].map(|len| len as u64)
}

/// A file that is shorter after its wrappers were opened, or after it was planned.
pub(crate) fn shrinks_between_steps() -> Result<(), Failed> {
    let (mut before_plan, mut before_load) = (0, 0);
    for sample in samples::all() {
        for cut in cuts(sample.file.len()) {
            let file = write(&sample.file)?;
            let kernel = Kernel::open(&file)?;
            file.set_len(cut)?;
            match plans(kernel.source()) {
                // The content of a layer is in memory.
                Ok((_, plans)) => {
                    assert!(matches!(kernel, Kernel::Memory(_)) || plans.len() <= sample.protocols);
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    before_plan += 1;
                }
            }

            let file = write(&sample.file)?;
            let kernel = Kernel::open(&file)?;
            let (machine, plans) = plans(kernel.source())?;
            file.set_len(cut)?;
            for plan in &plans {
                let mut memory = ram(&machine.memory);
                match load(plan, kernel.source(), &INITRD, &mut memory) {
                    Ok(()) => {
                        // A section is complete although the end of the file is missing.
                        assert!(!matches!(kernel, Kernel::Source(_)), "{}", sample.name);
                        Expected::new(plan, kernel.source()).check(&memory);
                    }
                    Err(LoadError::Changed { expected, found, .. }) => {
                        assert_eq!((expected, found), (sample.file.len() as u64, cut));
                        assert_untouched(plan, &memory);
                        before_load += 1;
                    }
                    // The length of a section does not change with that of the file.
                    Err(error) => {
                        assert!(matches!(kernel, Kernel::Part(_)), "{}: {error:?}", sample.name);
                        assert!(is_shrunk(&error), "{error:?}");
                        before_load += 1;
                    }
                }
            }
        }
    }
    println!("refused: {before_plan} when planned, {before_load} when loaded");
    assert!(before_plan > 15 && before_load > 30);
    Ok(())
}

fn is_shrunk(error: &LoadError) -> bool {
    causes(error).any(|cause| {
        let read = cause.downcast_ref::<ReadError>();
        read.is_some_and(|error| matches!(error.kind, ReadErrorKind::Shrunk | ReadErrorKind::PastEnd(_)))
    })
}

/// Memory that truncates the file before the first write.
struct Truncating<'a> {
    ram: &'a mut GuestRam,
    file: &'a File,
    len: u64,
}

impl GuestMemory for Truncating<'_> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.ram.check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.ram.write(addr, bytes)
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.ram.zero(range)
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.ram.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.file.set_len(self.len).unwrap();
        self.ram.copy_from(range, source, offset)
    }
}

/// The length of the file was right when the load began.
pub(crate) fn shrinks_during_the_load() -> Result<(), Failed> {
    for sample in samples::all() {
        for cut in cuts(sample.file.len()) {
            let file = write(&sample.file)?;
            let kernel = Kernel::open(&file)?;
            if matches!(kernel, Kernel::Memory(_)) {
                continue;
            }
            let (machine, plans) = plans(kernel.source())?;
            for plan in &plans {
                let mut file = &file;
                file.set_len(0)?;
                std::io::Seek::rewind(&mut file)?;
                file.write_all(&sample.file)?;
                let mut ram = ram(&machine.memory);
                let mut memory = Truncating {
                    ram: &mut ram,
                    file,
                    len: cut,
                };
                let result = load(plan, kernel.source(), &INITRD, &mut memory);
                match result {
                    Err(error @ LoadError::Incomplete { .. }) => assert!(is_shrunk(&error), "{error:?}"),
                    // The end of the file is not a part of the kernel.
                    Ok(()) => assert_eq!(
                        (sample.name, cut),
                        ("unified kernel image", sample.file.len() as u64 - 1)
                    ),
                    result => return Err(format!("{} {cut}: {result:?}", sample.name).into()),
                }
            }
        }
    }
    Ok(())
}

/// A source whose bytes are read, but whose descriptor cannot be.
struct Descriptor<'a> {
    bytes: &'a [u8],
    file: &'a File,
}

impl ByteSource for Descriptor<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(self.bytes)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.bytes.read_exact_at(offset, buf)
    }

    fn backing_store(&self) -> BackingStore<'_> {
        BackingStore::File(std::os::fd::AsFd::as_fd(self.file))
    }
}

/// The kernel of the host gives errors for reads: of a descriptor for writing only, and of memory that does not exist.
pub(crate) fn unreadable_descriptor() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("kernel");
    let sample = samples::all().into_iter().next().ok_or("no sample")?;
    std::fs::write(&path, &sample.file)?;
    let write_only = OpenOptions::new().write(true).open(&path)?;
    let error = plans(&write_only).err().ok_or("a plan of an unreadable file")?;
    assert!(is_caused_by(&*error, libc::EBADF), "{error:?}");

    // Offsets in the file are addresses; the first pages of a process do not exist.
    let memory = File::open("/proc/self/mem")?;
    for (file, number) in [(&write_only, libc::EBADF), (&memory, libc::EIO)] {
        let source = Descriptor {
            bytes: &sample.file,
            file,
        };
        let (machine, plans) = plans(&source)?;
        for plan in &plans {
            let result = load(plan, &source, &INITRD, &mut ram(&machine.memory));
            let Err(error @ LoadError::Incomplete { .. }) = result else {
                return Err(format!("{result:?}").into());
            };
            assert!(is_caused_by(&error, number), "{error:?}");
        }
    }
    let error = plans(&File::open(dir.path())?)
        .err()
        .ok_or("a plan of a directory")?;
    assert!(
        causes(&*error).any(|cause| cause.to_string().contains("a directory")),
        "{error:?}"
    );
    Ok(())
}

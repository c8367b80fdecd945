//! Sources that fail or become shorter at each of their operations.

use std::cell::Cell;
use std::io;

use boot_core::{ByteSource, ReadError, ReadErrorKind};
use libtest_mimic::Failed;

use crate::boot::{INITRD, Kernel, StepError, causes, is_caused_by, load, plans};
use crate::loaded::{Expected, ram};
use crate::samples;

/// What happens at an operation, of which the first is number 0. Reading the length is an operation, too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// From there on all operations fail.
    Eio(u32),
    /// This operation fails.
    EioOnce(u32),
    /// From there on the source has this length.
    Shrink(u32, usize),
}

/// The operations of all sources of a boot.
pub(crate) struct Operations {
    count: Cell<u32>,
    fault: Fault,
}

impl Operations {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            count: Cell::new(0),
            fault,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count.get()
    }

    /// A source whose operations are counted.
    pub(crate) fn source<'a>(&'a self, bytes: &'a [u8]) -> Faulty<'a> {
        Faulty {
            bytes,
            operations: self,
        }
    }
}

/// A source with a fault.
pub(crate) struct Faulty<'a> {
    bytes: &'a [u8],
    operations: &'a Operations,
}

impl Faulty<'_> {
    /// Counts an operation, and returns the bytes that the source then has.
    fn operation(&self, offset: u64, len: usize) -> Result<&[u8], ReadError> {
        let number = self.operations.count.replace(self.operations.count.get() + 1);
        let is_failed = match self.operations.fault {
            Fault::None | Fault::Shrink(..) => false,
            Fault::Eio(at) => number >= at,
            Fault::EioOnce(at) => number == at,
        };
        if is_failed {
            let error = io::Error::from_raw_os_error(libc::EIO);
            return Err(ReadError::new(offset, len, ReadErrorKind::Source(error.into())));
        }
        match self.operations.fault {
            Fault::Shrink(at, len) if number >= at => Ok(&self.bytes[..len.min(self.bytes.len())]),
            _ => Ok(self.bytes),
        }
    }
}

impl ByteSource for Faulty<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.operation(0, 0)?.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let bytes = self.operation(offset, buf.len())?;
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..)?.get(..buf.len()));
        let part = part.ok_or_else(|| ReadError::new(offset, buf.len(), ReadErrorKind::Shrunk))?;
        buf.copy_from_slice(part);
        Ok(())
    }
}

/// All steps by all protocols. Returns the number of loads, each of which is right.
fn boot(file: &[u8], operations: &Operations) -> Result<usize, StepError> {
    let (source, initrd) = (operations.source(file), operations.source(INITRD));
    let kernel = Kernel::open(&source)?;
    let (machine, plans) = plans(kernel.source())?;
    for plan in &plans {
        let mut memory = ram(&machine.memory);
        load(plan, kernel.source(), &initrd, &mut memory)?;
        let kernel = Kernel::open(&file)?;
        Expected::new(plan, kernel.source()).check(&memory);
    }
    Ok(plans.len())
}

/// Fails each operation of each sample in turn. Returns the numbers of boots that failed, and of loads that are right all the same.
fn fail_in_turn(fault: fn(u32) -> Fault) -> Result<(u32, u32), Failed> {
    let (mut failed, mut loaded) = (0, 0);
    for sample in samples::all() {
        let operations = Operations::new(Fault::None);
        assert_eq!(
            boot(&sample.file, &operations)?,
            sample.protocols,
            "{}",
            sample.name
        );
        for at in 0..operations.count() {
            match boot(&sample.file, &Operations::new(fault(at))) {
                Ok(_) => loaded += 1,
                Err(error) => {
                    assert!(
                        is_caused_by(&*error, libc::EIO),
                        "{} {at}: {error:?}",
                        sample.name
                    );
                    assert!(!error.to_string().is_empty());
                    failed += 1;
                }
            }
        }
    }
    println!("{failed} boots failed, {loaded} loaded");
    Ok((failed, loaded))
}

/// No error is lost.
pub(crate) fn every_operation_fails() -> Result<(), Failed> {
    let (failed, loaded) = fail_in_turn(Fault::Eio)?;
    assert!(failed > 100 && loaded == 0);
    Ok(())
}

/// Detection reads the bytes that it needs where a block of its cache cannot be read (`CachedSource`). All other errors end the boot.
pub(crate) fn every_operation_fails_once() -> Result<(), Failed> {
    let (failed, loaded) = fail_in_turn(Fault::EioOnce)?;
    assert!(failed > 100 && loaded < 20);
    Ok(())
}

/// The boot of a source that is shorter from an operation on is an error, or the source was not read where it is missing.
pub(crate) fn every_operation_shrinks() -> Result<(), Failed> {
    let (mut refused, mut loaded) = (0, 0);
    for sample in samples::all() {
        let operations = Operations::new(Fault::None);
        boot(&sample.file, &operations)?;
        for at in 0..operations.count() {
            for len in [0, 1, 0x40, sample.file.len() / 2, sample.file.len() - 1] {
                match boot(&sample.file, &Operations::new(Fault::Shrink(at, len))) {
                    Ok(_) => loaded += 1,
                    Err(error) => {
                        assert!(causes(&*error).all(|cause| !cause.to_string().is_empty()));
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{refused} boots refused, {loaded} loaded");
    assert!(refused > 500);
    Ok(())
}

//! All steps of a boot.

use std::error::Error;
use std::io;

use bls::uki::{Uki, UkiBoot, UkiError};
use boot_core::{
    BootPlan, BootRequest, ByteSource, Cmdline, FormatErrorKind, GuestMemory, LoadError, Machine,
    SizedSource, Sources, detect,
};
use disk::Window;
use fmt_wrapped::{Limits, WRAPPERS, Wrapper, open};

use crate::machine;

/// An error of any step.
pub(crate) type StepError = Box<dyn Error>;

/// The initrd of all boots.
pub(crate) const INITRD: &[u8] = &[0x5a; 0x2345];

/// A kernel: that of the source, or the content of its last layer.
pub(crate) enum Kernel<'a> {
    Source(&'a dyn ByteSource),
    Memory(Vec<u8>),
    Part(Window<&'a dyn ByteSource>),
}

impl<'a> Kernel<'a> {
    /// Opens the wrappers of a source, and the unified kernel image that it is.
    pub(crate) fn open(source: &'a dyn ByteSource) -> Result<Self, StepError> {
        // A bzImage is started as it is.
        let is_opened = |wrapper: &&dyn Wrapper| wrapper.name() != "bzimage";
        let wrappers: Vec<_> = WRAPPERS.into_iter().filter(is_opened).collect();
        let layers = open(
            &source,
            &wrappers,
            &Limits {
                layers: 4,
                len: 1 << 20,
            },
        )?;
        if let Some(layer) = layers.into_iter().last() {
            return Ok(Self::Memory(layer.content));
        }
        let parsed = match Uki::parse(SizedSource::new(source)?) {
            Err(UkiError::Pe(error)) if error.kind() != FormatErrorKind::Read => None,
            result => result?,
        };
        match parsed {
            Some(uki) => {
                let boot = UkiBoot::new(source, uki.arch(), uki.profile(None)?);
                Ok(Self::Part(boot.kernel.into_window()?))
            }
            None => Ok(Self::Source(source)),
        }
    }

    /// The bytes of the kernel.
    pub(crate) fn source(&self) -> &dyn ByteSource {
        match self {
            Self::Source(source) => source,
            Self::Memory(bytes) => bytes,
            Self::Part(part) => part,
        }
    }
}

/// The plans of a kernel by all protocols, and their machine.
pub(crate) fn plans(kernel: &dyn ByteSource) -> Result<(Machine, Vec<BootPlan>), StepError> {
    let image = detect(&vmboot::formats()?, kernel)?;
    let machine = machine::all()
        .into_iter()
        .find(|machine| machine.arch == image.arch())
        .ok_or("no machine")?;
    let cmdline: Cmdline = "console=ttyS0".parse()?;
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(INITRD.len() as u64);
    let protocols = vmboot::protocols()?;
    let plans = protocols
        .iter()
        .filter_map(|protocol| protocol.plan(&request).ok())
        .collect();
    Ok((machine, plans))
}

/// Loads a plan with the initrd.
pub(crate) fn load(
    plan: &BootPlan,
    kernel: &dyn ByteSource,
    initrd: &dyn ByteSource,
    memory: &mut dyn GuestMemory,
) -> Result<(), LoadError> {
    plan.load(&Sources::kernel(kernel).with_initrd(initrd), memory)
}

/// The causes of an error, itself the first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Whether a cause is the error of the system with this number.
pub(crate) fn is_caused_by(error: &(dyn Error + 'static), number: i32) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.raw_os_error() == Some(number))
    })
}

//! Registers of guests that wait for a call.

use std::sync::{Arc, OnceLock};

use guest_ram::{HostMapping, MappingError, Memfd};
use hv_core::{BareVcpu, RegisterImage, Vcpu};

use crate::backend::Backend;
use crate::image::{HOST_PAGES, Image};
use crate::memory::{Memory, REGISTERS};
use crate::memory_error::MemoryFileError;

/// Registers of a guest at a moment at which it waited for a call from outside. They serve for each moment at which it waits, and for its
/// copies: see the section "Waiting" of [`sandbox_abi`].
pub(crate) struct Waiting<B: Backend> {
    pub(crate) saved: <B::Vcpu as BareVcpu>::Saved,
    /// Registers that the guest loads on a rewind.
    pub(crate) image: RegisterImage,
    /// Host pages with these registers, for clones: so they share them. Made for the first of them.
    host: OnceLock<Memfd>,
}

impl<B: Backend> Waiting<B> {
    /// Registers with the part that the guest loads.
    pub(crate) fn new(saved: <B::Vcpu as BareVcpu>::Saved, image: RegisterImage) -> Self {
        let host = OnceLock::new();
        Self { saved, image, host }
    }

    /// Host pages with these registers, sealed.
    pub(crate) fn host(&self, image: &Image) -> Result<&Memfd, MemoryFileError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = Memfd::create(c"sandbox-host", image.host.len())?;
        let pages = HostMapping::shared(&host)?;
        pages.copy_from(&HostMapping::private(&image.host)?, 0, HOST_PAGES)?;
        pages.write(REGISTERS, &self.image.0)?;
        // The writable mapping prevents the seal.
        drop(pages);
        host.seal()?;
        // Of several threads, one wins.
        Ok(self.host.get_or_init(|| host))
    }
}

/// Registers that one sandbox returns to.
pub(crate) struct Registers<B: Backend> {
    /// None before the first snapshot.
    waiting: Option<Arc<Waiting<B>>>,
    /// [`Waiting::image`] is in the guest's memory, where the guest cannot write it.
    is_loaded: bool,
}

impl<B: Backend> Default for Registers<B> {
    fn default() -> Self {
        Self {
            waiting: None,
            is_loaded: false,
        }
    }
}

impl<B: Backend> Registers<B> {
    /// The registers of a clone whose host pages are those of `waiting`.
    pub(crate) fn of(waiting: &Arc<Waiting<B>>) -> Self {
        Self {
            waiting: Some(Arc::clone(waiting)),
            is_loaded: true,
        }
    }

    /// The registers of a sandbox whose guest waits. They are read once.
    pub(crate) fn get(&mut self, vcpu: &mut B::Vcpu) -> Result<&Arc<Waiting<B>>, <B::Vcpu as Vcpu>::Error> {
        match &mut self.waiting {
            Some(waiting) => Ok(waiting),
            none => {
                let mut image = RegisterImage::default();
                let saved = vcpu.capture(&mut image)?;
                Ok(none.insert(Arc::new(Waiting::new(saved, image))))
            }
        }
    }

    /// Puts the registers that the guest loads on a rewind to `target` into `memory`.
    pub(crate) fn load(&mut self, target: &Arc<Waiting<B>>, memory: &Memory) -> Result<(), MappingError> {
        let is_same = self.waiting.as_ref().is_some_and(|own| Arc::ptr_eq(own, target));
        if !(is_same && self.is_loaded) {
            self.is_loaded = false;
            memory.write_registers(&target.image.0)?;
            self.waiting = Some(Arc::clone(target));
            self.is_loaded = true;
        }
        Ok(())
    }
}

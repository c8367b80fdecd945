//! The debugger of a sandbox, as its engine sees it.

use std::collections::BTreeSet;
use std::fmt;

use sandbox_debug::{GdbError, Resume, Stop};

use crate::backend::Backend;
use crate::crash::Registers;
use crate::image::Image;
use crate::memory::Memory;
use crate::window::Window;

/// A stopped guest.
pub(crate) struct Guest<'a, B: Backend> {
    pub(crate) vcpu: &'a mut B::Vcpu,
    pub(crate) memory: &'a Memory,
    pub(crate) window: &'a Window,
    pub(crate) image: &'a Image,
    /// Pages of data, stacks and heap that the debugger wrote.
    pub(crate) written: &'a mut BTreeSet<usize>,
    /// Registers of the crash that is reported.
    pub(crate) crash: Option<&'a Registers>,
}

/// A debugger, whatever the type of the CPU is: only [`Sandbox::attach_debugger`](crate::Sandbox::attach_debugger) needs one with registers and breakpoints.
pub(crate) trait Debugger<B: Backend>: Send {
    /// Reports a stop, and does what the debugger asks for until the guest is to run again.
    fn stopped(&mut self, stop: Stop, guest: Guest<'_, B>) -> Result<Resume, GdbError>;

    /// Makes the CPU one without breakpoints and steps.
    fn release(&mut self, vcpu: &mut B::Vcpu) -> Result<(), B::Error>;
}

/// What a sandbox has for its debugger.
pub(crate) struct DebugState<B: Backend> {
    debugger: Option<Box<dyn Debugger<B>>>,
    /// Pages of data, stacks and heap that a debugger wrote since the last snapshot or restore: no dirty log has them.
    written: BTreeSet<usize>,
}

impl<B: Backend> Default for DebugState<B> {
    fn default() -> Self {
        Self {
            debugger: None,
            written: BTreeSet::new(),
        }
    }
}

impl<B: Backend> fmt::Debug for DebugState<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugState")
            .field("is_attached", &self.is_attached())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> DebugState<B> {
    pub(crate) fn attach(&mut self, debugger: Box<dyn Debugger<B>>) {
        self.debugger = Some(debugger);
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.debugger.is_some()
    }

    /// The debugger, and the pages that it wrote.
    pub(crate) fn parts(&mut self) -> Option<(&mut dyn Debugger<B>, &mut BTreeSet<usize>)> {
        let debugger = self.debugger.as_deref_mut()?;
        Some((debugger, &mut self.written))
    }

    pub(crate) fn take_debugger(&mut self) -> Option<Box<dyn Debugger<B>>> {
        self.debugger.take()
    }

    /// The pages that were written since the last call of this function.
    pub(crate) fn take_written(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.written)
    }
}

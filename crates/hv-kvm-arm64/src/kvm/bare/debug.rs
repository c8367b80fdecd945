//! The vCPU under a debugger.

use hv_core::{DebugRequest, DebugVcpu};

use super::{debug_request::Debug, vcpu::KvmBareVcpu};
use crate::KvmError;

/// A watchpoint stops the vCPU before the access, a breakpoint before the instruction. To go on, step once without it.
impl DebugVcpu for KvmBareVcpu {
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), KvmError> {
        let debug = Debug::new(request, self.machine.process.registers.debug)?;
        self.complete_rewind()?;
        debug.enable(&self.entry)?;
        self.debug = Some(debug).filter(|debug| !debug.is_empty());
        Ok(())
    }
}

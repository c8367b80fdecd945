//! Runs of one vCPU on the caller's thread.

use std::ops::ControlFlow;

use crate::{Vcpu, VcpuExit};

/// Runs `vcpu` on this thread and passes every exit to `handler` until it breaks. [`VcpuExit::Interrupted`] is an exit as the others.
///
/// # Errors
///
/// Errors of [`Vcpu::run`].
pub fn run_inline<V: Vcpu, B>(
    vcpu: &mut V,
    mut handler: impl FnMut(VcpuExit<'_>) -> ControlFlow<B>,
) -> Result<B, V::Error> {
    loop {
        if let ControlFlow::Break(result) = handler(vcpu.run()?) {
            return Ok(result);
        }
    }
}

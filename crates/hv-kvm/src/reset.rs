//! State to which resets return.

use std::sync::OnceLock;

use crate::HarnessError;

/// State of a machine after its creation, which is read from a temporary machine of the same layout when it is first needed.
///
/// A machine that is never reset does without it: KVM of arm64 and riscv64 reads each register with a request.
/// `L` is the layout, `S` the state and `E` the error of the harness.
#[derive(Debug)]
pub struct ResetState<L, S, E> {
    state: OnceLock<S>,
    read: fn(&L) -> Result<S, E>,
}

impl<L, S, E> ResetState<L, S, E> {
    /// The state that `read` reads from a new machine of a layout.
    #[must_use]
    pub const fn new(read: fn(&L) -> Result<S, E>) -> Self {
        Self {
            state: OnceLock::new(),
            read,
        }
    }

    /// The state, which the first call reads. After an error, the next call tries again.
    ///
    /// # Errors
    ///
    /// Those of the read.
    pub fn get(&self, layout: &L) -> Result<&S, E> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let state = (self.read)(layout)?;
        Ok(self.state.get_or_init(|| state))
    }
}

/// The state of vCPU `index` among `states`, which are in the order of the vCPUs.
///
/// # Errors
///
/// [`HarnessError::NoSuchVcpu`].
pub fn state_of_vcpu<S>(states: &[S], index: u32) -> Result<&S, HarnessError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| states.get(index))
        .ok_or_else(|| HarnessError::NoSuchVcpu {
            index,
            count: u32::try_from(states.len()).unwrap_or(u32::MAX),
        })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_state_is_read_once_and_errors_are_not_kept() {
        // Number of reads, and how many of them fail.
        let layout = (Cell::new(0), 2);
        let state = ResetState::new(|(reads, failing): &(Cell<u32>, u32)| {
            reads.set(reads.get() + 1);
            if reads.get() <= *failing {
                Err("no descriptors")
            } else {
                Ok(reads.get())
            }
        });
        assert_eq!(state.get(&layout), Err("no descriptors"));
        assert_eq!(state.get(&layout), Err("no descriptors"));
        assert_eq!(state.get(&layout), Ok(&3));
        assert_eq!(state.get(&layout), Ok(&3));
        assert_eq!(layout.0.get(), 3);
    }

    #[test]
    fn states_are_in_the_order_of_the_vcpus() {
        assert_eq!(state_of_vcpu(&['a', 'b'], 1).ok(), Some(&'b'));
        let error = state_of_vcpu(&['a', 'b'], 2).unwrap_err();
        assert!(
            matches!(error, HarnessError::NoSuchVcpu { index: 2, count: 2 }),
            "{error:?}"
        );
    }
}

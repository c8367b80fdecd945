//! Retries of instructions whose memory the host cannot access temporarily.

use std::{thread, time::Duration};

/// Budget of retries of one instruction.
///
/// Cache maintenance by the guest on a page that the host has swapped out or not mapped yet makes `KVM_RUN` of some kernels
/// fail with `EFAULT`. A retry of the instruction succeeds when the page is mapped.
pub(super) struct RetryBudget {
    attempts: u32,
    /// Registers at the last attempt: unchanged registers mean the same instruction with the same address.
    at: Option<Registers>,
}

/// `PC`, and `X0` to `X30`.
type Registers = Vec<u64>;

impl RetryBudget {
    /// Attempts without a pause, since the page is often mapped at once.
    const IMMEDIATE_ATTEMPTS: u32 = 10;
    /// Limit of attempts.
    const MAX_ATTEMPTS: u32 = 200;
    /// Pause before each later attempt.
    const PAUSE: Duration = Duration::from_millis(1);

    pub(super) fn new() -> Self {
        Self {
            attempts: 0,
            at: None,
        }
    }

    /// Backs off before the next attempt; false once the retry budget is spent.
    pub(super) fn back_off(&mut self, at: Registers) -> bool {
        if self.at.as_ref() != Some(&at) {
            *self = Self {
                attempts: 0,
                at: Some(at),
            };
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts > Self::IMMEDIATE_ATTEMPTS {
            thread::sleep(Self::PAUSE);
        }
        self.attempts <= Self::MAX_ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_per_instruction() {
        let mut budget = RetryBudget::new();
        // A loop over many pages, each of which comes back after a few attempts.
        for page in 0..1000 {
            for _ in 0..3 {
                assert!(budget.back_off(vec![0x8000, page]), "{page}");
            }
        }
        for attempt in 1..=RetryBudget::MAX_ATTEMPTS {
            assert!(budget.back_off(vec![0x8000, 7]), "{attempt}");
        }
        assert!(!budget.back_off(vec![0x8000, 7]));
        assert!(budget.back_off(vec![0x8004, 7]));
    }
}

use std::{error::Error, sync::PoisonError};

use super::*;

/// Records the levels of the harts' inputs in order.
#[derive(Clone, Default)]
struct Harts(Arc<Mutex<Vec<(u32, bool)>>>);

impl Harts {
    fn take(&self) -> Vec<(u32, bool)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HartInterrupts for Harts {
    fn set(&self, hart: u32, level: bool) -> Result<(), IrqError> {
        self.0.lock().unwrap().push((hart, level));
        Ok(())
    }
}

/// Inputs that cannot be set.
struct Broken;

impl HartInterrupts for Broken {
    fn set(&self, hart: u32, _: bool) -> Result<(), IrqError> {
        let source: Box<dyn Error + Send + Sync> = "no vCPU".into();
        Err(IrqError::new(hart, source))
    }
}

const THRESHOLD_0: u64 = 0x20_0000;
const CLAIM_0: u64 = 0x20_0004;
const CLAIM_1: u64 = 0x20_1004;

fn read(plic: &mut Plic, offset: u64) -> u32 {
    let mut data = [0xee; 4];
    plic.read(offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

fn write(plic: &mut Plic, offset: u64, value: u32) {
    let action = plic.write(offset, &value.to_le_bytes()).unwrap();
    assert_eq!(action, DeviceAction::Continue);
}

/// A controller with 40 sources of priority 1 and two harts. All sources are enabled for the first hart, none for the second.
fn plic() -> (Plic, Harts) {
    let harts = Harts::default();
    let mut plic = Plic::new(40, 2, harts.clone());
    for source in 1..=40 {
        write(&mut plic, 4 * source, 1);
    }
    write(&mut plic, 0x2000, u32::MAX);
    write(&mut plic, 0x2004, u32::MAX);
    (plic, harts)
}

#[test]
fn an_interrupt_from_edge_to_completion() {
    let (mut plic, harts) = plic();
    assert_eq!(harts.take(), []);
    plic.set_irq(33, true).unwrap();
    assert_eq!(harts.take(), [(0, true)]);
    assert_eq!(read(&mut plic, 0x1004), 1 << 1, "pending");
    plic.set_irq(33, false).unwrap();
    assert_eq!(harts.take(), [], "a falling edge does not clear a pending source");
    assert_eq!(read(&mut plic, CLAIM_0), 33);
    assert_eq!(harts.take(), [(0, false)]);
    assert_eq!(read(&mut plic, 0x1004), 0);
    assert_eq!(read(&mut plic, CLAIM_0), 0, "no other source is pending");
    write(&mut plic, CLAIM_0, 33);
    assert_eq!(harts.take(), []);
}

#[test]
fn a_high_line_interrupts_again_after_completion() {
    let (mut plic, harts) = plic();
    plic.set_irq(5, true).unwrap();
    assert_eq!(read(&mut plic, CLAIM_0), 5);
    assert_eq!(read(&mut plic, CLAIM_0), 0, "a claimed source is not pending");
    harts.take();
    write(&mut plic, CLAIM_0, 5);
    assert_eq!(harts.take(), [(0, true)]);
    assert_eq!(read(&mut plic, CLAIM_0), 5);
}

#[test]
fn an_edge_between_claim_and_completion_is_kept() {
    let (mut plic, harts) = plic();
    let pulse = |plic: &Plic| {
        plic.set_irq(5, true).unwrap();
        plic.set_irq(5, false).unwrap();
    };
    pulse(&plic);
    assert_eq!(read(&mut plic, CLAIM_0), 5);
    pulse(&plic);
    pulse(&plic);
    harts.take();
    write(&mut plic, CLAIM_0, 5);
    assert_eq!(harts.take(), [(0, true)]);
    assert_eq!(read(&mut plic, CLAIM_0), 5);
    write(&mut plic, CLAIM_0, 5);
    assert_eq!(read(&mut plic, CLAIM_0), 0, "two edges are one interrupt");
}

#[test]
fn claims_are_ordered_by_priority_then_by_number() {
    let (mut plic, _) = plic();
    write(&mut plic, 4 * 7, 3);
    write(&mut plic, 4 * 20, 3);
    write(&mut plic, 4 * 2, 0);
    for source in [2, 3, 20, 7] {
        plic.set_irq(source, true).unwrap();
    }
    // Source 2 has priority 0: it never interrupts.
    for expected in [7, 20, 3, 0] {
        assert_eq!(read(&mut plic, CLAIM_0), expected);
    }
}

#[test]
fn thresholds_mask_notifications() {
    let (mut plic, harts) = plic();
    write(&mut plic, THRESHOLD_0, 1);
    plic.set_irq(4, true).unwrap();
    assert_eq!(harts.take(), [], "priority 1 is not above threshold 1");
    // A claim does not depend on the threshold.
    assert_eq!(read(&mut plic, CLAIM_0), 4);
    write(&mut plic, CLAIM_0, 4);
    write(&mut plic, THRESHOLD_0, 0);
    assert_eq!(harts.take(), [(0, true)]);
    write(&mut plic, THRESHOLD_0, 7);
    assert_eq!(harts.take(), [(0, false)]);
    write(&mut plic, THRESHOLD_0, u32::MAX);
    assert_eq!(read(&mut plic, THRESHOLD_0), 7, "thresholds have three bits");
}

#[test]
fn contexts_are_independent() {
    let (mut plic, harts) = plic();
    plic.set_irq(9, true).unwrap();
    assert_eq!(harts.take(), [(0, true)]);
    write(&mut plic, 0x2080, 1 << 9);
    assert_eq!(harts.take(), [(1, true)]);
    assert_eq!(read(&mut plic, CLAIM_1), 9);
    assert_eq!(harts.take(), [(0, false), (1, false)], "only one hart claims it");
    // A completion is ignored if the source is not enabled for the context.
    write(&mut plic, 0x2080, 0);
    write(&mut plic, CLAIM_1, 9);
    assert_eq!(harts.take(), []);
    write(&mut plic, CLAIM_0, 9);
    assert_eq!(harts.take(), [(0, true)]);
}

#[test]
fn absent_registers_read_as_zero() {
    let (mut plic, harts) = plic();
    // Source 0 and sources above the highest one cannot be enabled and have no priority.
    assert_eq!(read(&mut plic, 0x2000), !1);
    assert_eq!(read(&mut plic, 0x2004), 0x1ff);
    for offset in [
        0,
        4 * 41,
        4 * 1023,
        0x1000,
        0x1f00,
        0x2008,
        0x2100,
        0x20_2000,
        0x20_0008,
        1 << 40,
    ] {
        write(&mut plic, offset, u32::MAX);
        assert_eq!(read(&mut plic, offset), 0, "{offset:#x}");
    }
    write(&mut plic, 4, u32::MAX);
    assert_eq!(read(&mut plic, 4), 7, "priorities have three bits");
    // Completions of sources that were not claimed.
    for source in [0, 3, 41, u32::MAX] {
        write(&mut plic, CLAIM_0, source);
    }
    assert_eq!(harts.take(), []);
    for source in [0, 41, u32::MAX] {
        assert_eq!(plic.set_irq(source, true).unwrap_err().line, source);
    }
}

#[test]
fn accesses_of_other_widths_have_no_effect() {
    let (mut plic, harts) = plic();
    plic.set_irq(1, true).unwrap();
    for (offset, len) in [(CLAIM_0, 1), (CLAIM_0, 2), (CLAIM_0 - 4, 8), (CLAIM_0 + 2, 4)] {
        let mut data = vec![0xee; len];
        plic.read(offset, &mut data).unwrap();
        assert!(data.iter().all(|byte| *byte == 0), "{offset:#x} {len}");
        plic.write(offset, &data).unwrap();
    }
    assert_eq!(harts.take(), [(0, true)]);
    assert_eq!(read(&mut plic, CLAIM_0), 1, "still pending");
}

#[test]
fn a_reset_keeps_only_the_levels_of_the_lines() {
    let (mut plic, harts) = plic();
    plic.set_irq(1, true).unwrap();
    plic.set_irq(2, true).unwrap();
    plic.set_irq(2, false).unwrap();
    harts.take();
    plic.reset().unwrap();
    assert_eq!(harts.take(), [(0, false)]);
    for offset in [4, 8, 0x2000, 0x2004, THRESHOLD_0] {
        assert_eq!(read(&mut plic, offset), 0, "{offset:#x}");
    }
    assert_eq!(
        read(&mut plic, 0x1000),
        1 << 1,
        "line 1 is still high, line 2 is not"
    );
}

#[test]
fn resend_sets_the_input_of_one_hart() {
    let (plic, harts) = plic();
    plic.set_irq(1, true).unwrap();
    harts.take();
    plic.resend(0).unwrap();
    plic.resend(1).unwrap();
    plic.resend(2).unwrap();
    assert_eq!(harts.take(), [(0, true), (1, false)]);
}

#[test]
fn errors_of_the_inputs_are_returned() {
    let mut plic = Plic::new(1, 1, Broken);
    write(&mut plic, 4, 1);
    plic.write(0x2000, &2_u32.to_le_bytes()).unwrap();
    assert_eq!(plic.set_irq(1, true).unwrap_err().line, 0);
    let error = plic.write(THRESHOLD_0, &[0; 4]).unwrap_err();
    assert!(matches!(error, DeviceError::Irq(_)), "{error}");
}

#[test]
fn sizes_and_limits() {
    assert_eq!(Plic::mmio_len(1), 0x20_1000);
    // The largest controller of the binding: 15872 contexts in 64 MiB.
    assert_eq!(Plic::mmio_len(15872), 0x400_0000);
    let plic = Plic::new(u32::MAX, 1, Harts::default());
    plic.set_irq(Plic::MAX_SOURCE, true).unwrap();
    assert!(plic.set_irq(Plic::MAX_SOURCE + 1, true).is_err());
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Source(u32, bool),
        Write(u64, u32),
        Claim(u64),
        Complete(u64, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let offset = prop_oneof![
            (0_u64..12).prop_map(|n| n * 4),
            (0_u64..4).prop_map(|n| 0x2000 + n * 0x80),
            (0_u64..4).prop_map(|n| 0x20_0000 + n * 0x1000),
            any::<u64>(),
        ];
        let step = prop_oneof![
            (0_u32..12, any::<bool>()).prop_map(|(source, level)| Step::Source(source, level)),
            (offset, any::<u32>()).prop_map(|(offset, value)| Step::Write(offset, value)),
            (0_u64..4).prop_map(Step::Claim),
            (0_u64..4, 0_u32..12).prop_map(|(context, source)| Step::Complete(context, source)),
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// After any steps, the input of a hart is high exactly if an enabled source is pending with a priority above the
        /// threshold. No source is claimed twice without a completion. Nothing panics.
        #[test]
        fn outputs_follow_the_registers(steps in steps()) {
            let harts = Harts::default();
            let mut plic = Plic::new(9, 3, harts.clone());
            let mut levels = [false; 3];
            let mut claimed = [false; 12];
            for step in steps {
                match step {
                    Step::Source(source, level) => {
                        let exists = plic.set_irq(source, level).is_ok();
                        prop_assert_eq!(exists, (1..=9).contains(&source));
                    }
                    Step::Write(offset, value) => {
                        // Completions have a step of their own.
                        if offset < 0x20_0000 || offset & 0xfff != 4 {
                            plic.write(offset, &value.to_le_bytes()).unwrap();
                        }
                    }
                    Step::Claim(context) => {
                        let source = read(&mut plic, 0x20_0004 + context * 0x1000);
                        prop_assert!(source <= 9);
                        if source != 0 {
                            let claimed = &mut claimed[source as usize];
                            prop_assert!(!*claimed);
                            *claimed = true;
                        }
                    }
                    Step::Complete(context, source) => {
                        write(&mut plic, 0x20_0004 + context * 0x1000, source);
                        let enabled = read(&mut plic, 0x2000 + context * 0x80) >> source & 1 != 0;
                        claimed[source as usize] &= !(context < 3 && enabled);
                    }
                }
                for (hart, level) in harts.take() {
                    prop_assert_ne!(levels[hart as usize], level, "set without a change");
                    levels[hart as usize] = level;
                }
                let pending = read(&mut plic, 0x1000);
                for (context, level) in (0_u64..).zip(levels) {
                    let threshold = read(&mut plic, 0x20_0000 + context * 0x1000);
                    let enabled = read(&mut plic, 0x2000 + context * 0x80);
                    let expected = (1_u64..=9).any(|source| {
                        (pending & enabled) >> source & 1 != 0 && read(&mut plic, 4 * source) > threshold
                    });
                    prop_assert_eq!(level, expected, "context {}", context);
                }
            }
        }
    }
}

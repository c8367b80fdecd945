//! A platform-level interrupt controller in user space, for hosts whose KVM has no interrupt controller of its own.
//!
//! Registers and behaviour: RISC-V Platform-Level Interrupt Controller Specification 1.0.0, with the register map that the
//! Linux binding `sifive,plic-1.0.0.yaml` is about. Context *n* is the supervisor mode of hart *n*.
//!
//! ```text
//! 0x00_0000  priority of source 0, 1, …              4 bytes each
//! 0x00_1000  pending, one bit for each source        read-only
//! 0x00_2000  enables of context 0, 1, …              128 bytes each
//! 0x20_0000  threshold and claim of context 0, 1, …  4096 bytes each
//! ```

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hv_core::{Device, DeviceError, IrqError, Verdict};

/// How many sources a controller can have, source 0 included, which does not exist.
const MAX_SOURCES: usize = 1024;
/// Where the parts of the register map begin, and how far two contexts are apart.
const PENDING: u64 = 0x1000;
const ENABLES: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXTS: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;
/// Offsets within a context.
const THRESHOLD: u64 = 0;
const CLAIM: u64 = 4;
/// Priorities and thresholds have three bits, as in SiFive's controllers.
const PRIORITY_MASK: u32 = 7;

/// The external interrupt inputs of a machine's harts.
pub trait HartInputs: Send + Sync + 'static {
    /// Sets the supervisor external interrupt of hart `hart`.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the back end refuses.
    fn set(&self, hart: u32, level: bool) -> Result<(), IrqError>;
}

/// The controller. Clones are the same controller: one sits on the bus, another takes the devices' lines.
#[derive(Clone)]
pub struct Plic(Arc<Mutex<State>>);

struct State {
    sources: Vec<Source>,
    contexts: Vec<Context>,
    inputs: Box<dyn HartInputs>,
}

/// A source and its gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about a wire and its gateway"
)]
struct Source {
    priority: u32,
    /// The level of the device's line.
    level: bool,
    pending: bool,
    /// A context claimed it and has not completed it; the gateway passes nothing on until then.
    claimed: bool,
    /// The line rose while it was claimed.
    again: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    enabled: [u32; MAX_SOURCES / 32],
    threshold: u32,
    /// What the hart was told last.
    output: bool,
}

impl Context {
    const NEW: Self = Self {
        enabled: [0; MAX_SOURCES / 32],
        threshold: 0,
        output: false,
    };

    fn is_enabled(&self, source: usize) -> bool {
        self.enabled
            .get(source / 32)
            .is_some_and(|word| word >> (source % 32) & 1 != 0)
    }
}

impl fmt::Debug for Plic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Plic")
            .field("sources", &state.sources.len().saturating_sub(1))
            .field("contexts", &state.contexts.len())
            .finish_non_exhaustive()
    }
}

impl Plic {
    /// The highest source that can exist.
    pub const MAX_SOURCE: u32 = 1023;

    /// A controller with the sources 1 to `sources`, at most [`MAX_SOURCE`](Self::MAX_SOURCE), and a supervisor context
    /// for each of `harts` harts.
    pub fn new(sources: u32, harts: u32, inputs: impl HartInputs) -> Self {
        let sources = usize::try_from(sources.min(Self::MAX_SOURCE)).unwrap_or(0);
        let harts = usize::try_from(harts).unwrap_or(0);
        Self(Arc::new(Mutex::new(State {
            sources: vec![Source::default(); sources.saturating_add(1)],
            contexts: vec![Context::NEW; harts],
            inputs: Box::new(inputs),
        })))
    }

    /// How many addresses the registers of a controller for `harts` harts take.
    #[must_use]
    pub fn len(harts: u32) -> u64 {
        CONTEXTS.saturating_add(CONTEXT_STRIDE.saturating_mul(harts.into()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned controller belongs to a vCPU thread that panicked, which the run reports by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the level of the line of `source`. A rising edge makes the source pending, and so does a line that is
    /// still high when the guest completes the interrupt; a line that falls again does not take it back.
    ///
    /// # Errors
    ///
    /// [`IrqError`] where there is no such source, and when a hart cannot be interrupted.
    pub fn set_source(&self, source: u32, level: bool) -> Result<(), IrqError> {
        let mut state = self.lock();
        let entry = usize::try_from(source)
            .ok()
            .filter(|&source| source != 0)
            .and_then(|source| state.sources.get_mut(source));
        let Some(entry) = entry else {
            return Err(IrqError {
                line: source,
                source: "the PLIC has no such source".into(),
            });
        };
        let rises = level && !entry.level;
        entry.level = level;
        if rises {
            if entry.claimed {
                entry.again = true;
            } else {
                entry.pending = true;
            }
        }
        state.update()
    }

    /// Tells hart `hart` its external interrupt once more, because it forgot: its registers were replaced.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the hart's input cannot be set.
    pub fn drive(&self, hart: u32) -> Result<(), IrqError> {
        let state = self.lock();
        let context = usize::try_from(hart)
            .ok()
            .and_then(|hart| state.contexts.get(hart));
        match context {
            Some(context) => state.inputs.set(hart, context.output),
            None => Ok(()),
        }
    }

    /// Puts every register back to zero, and forgets what is pending. The devices' lines keep their levels.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when a hart's input cannot be lowered.
    pub fn reset(&self) -> Result<(), IrqError> {
        let mut state = self.lock();
        for source in &mut state.sources {
            *source = Source {
                level: source.level,
                pending: source.level,
                ..Source::default()
            };
        }
        for context in &mut state.contexts {
            *context = Context {
                output: context.output,
                ..Context::NEW
            };
        }
        state.update()
    }
}

impl State {
    /// The source that `context` would be given: the highest priority, and of equals the lowest number.
    fn best(&self, context: &Context) -> Option<usize> {
        let mut best: Option<(usize, u32)> = None;
        for (number, source) in self.sources.iter().enumerate().skip(1) {
            if source.pending
                && context.is_enabled(number)
                && source.priority > best.map_or(0, |(_, priority)| priority)
            {
                best = Some((number, source.priority));
            }
        }
        best.map(|(number, _)| number)
    }

    /// Tells every hart whose external interrupt changed.
    fn update(&mut self) -> Result<(), IrqError> {
        let outputs: Vec<bool> = self
            .contexts
            .iter()
            .map(|context| {
                self.sources.iter().enumerate().skip(1).any(|(number, source)| {
                    source.pending && source.priority > context.threshold && context.is_enabled(number)
                })
            })
            .collect();
        for ((hart, context), output) in (0..).zip(&mut self.contexts).zip(outputs) {
            if context.output != output {
                self.inputs.set(hart, output)?;
                context.output = output;
            }
        }
        Ok(())
    }

    /// Reads the register at `offset`, a multiple of four. What does not exist reads as zero.
    fn read(&mut self, offset: u64) -> Result<u32, IrqError> {
        Ok(match Place::of(offset) {
            Place::Priority(source) => self.sources.get(source).map_or(0, |source| source.priority),
            Place::Pending(word) => self
                .sources
                .iter()
                .skip(word.saturating_mul(32))
                .take(32)
                .enumerate()
                .fold(0, |bits, (bit, source)| bits | u32::from(source.pending) << bit),
            Place::Enable(context, word) => self
                .contexts
                .get(context)
                .and_then(|context| context.enabled.get(word))
                .copied()
                .unwrap_or(0),
            Place::Threshold(context) => self.contexts.get(context).map_or(0, |context| context.threshold),
            Place::Claim(context) => {
                let claimed = self.contexts.get(context).and_then(|context| self.best(context));
                let Some(number) = claimed else {
                    return Ok(0);
                };
                if let Some(source) = self.sources.get_mut(number) {
                    source.pending = false;
                    source.claimed = true;
                }
                self.update()?;
                u32::try_from(number).unwrap_or(0)
            }
            Place::Nothing => 0,
        })
    }

    fn write(&mut self, offset: u64, value: u32) -> Result<(), IrqError> {
        match Place::of(offset) {
            // Source 0 does not exist.
            Place::Priority(0) | Place::Pending(_) | Place::Nothing => return Ok(()),
            Place::Priority(source) => {
                if let Some(source) = self.sources.get_mut(source) {
                    source.priority = value & PRIORITY_MASK;
                }
            }
            Place::Enable(context, word) => {
                let exists = self.existing(word);
                let enabled = self
                    .contexts
                    .get_mut(context)
                    .and_then(|c| c.enabled.get_mut(word));
                if let Some(enabled) = enabled {
                    *enabled = value & exists;
                }
            }
            Place::Threshold(context) => {
                if let Some(context) = self.contexts.get_mut(context) {
                    context.threshold = value & PRIORITY_MASK;
                }
            }
            Place::Claim(context) => {
                // "If the completion ID does not match an interrupt source that is currently enabled for the target, the
                // completion is silently ignored" (section 9).
                let number = usize::try_from(value).unwrap_or(usize::MAX);
                let enabled = self
                    .contexts
                    .get(context)
                    .is_some_and(|context| context.is_enabled(number));
                if let Some(source) = self.sources.get_mut(number).filter(|s| enabled && s.claimed) {
                    source.claimed = false;
                    source.pending |= source.level || std::mem::take(&mut source.again);
                    source.again = false;
                }
            }
        }
        self.update()
    }

    /// The bits of an enable word that belong to sources.
    fn existing(&self, word: usize) -> u32 {
        let first = word.saturating_mul(32);
        (0..32)
            .filter(|bit| (1..self.sources.len()).contains(&first.saturating_add(*bit)))
            .fold(0, |bits, bit| bits | 1 << bit)
    }
}

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Priority(usize),
    /// A word of pending bits.
    Pending(usize),
    /// A context, and a word of its enable bits.
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
    Nothing,
}

impl Place {
    fn of(offset: u64) -> Self {
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let after = |start: u64| offset.saturating_sub(start);
        match offset {
            0..PENDING => Self::Priority(index(offset / 4)),
            PENDING..ENABLES => match index(after(PENDING) / 4) {
                word if word < MAX_SOURCES / 32 => Self::Pending(word),
                _ => Self::Nothing,
            },
            ENABLES..CONTEXTS => Self::Enable(
                index(after(ENABLES) / ENABLE_STRIDE),
                index(after(ENABLES) % ENABLE_STRIDE / 4),
            ),
            CONTEXTS.. => {
                let context = index(after(CONTEXTS) / CONTEXT_STRIDE);
                match after(CONTEXTS) % CONTEXT_STRIDE {
                    THRESHOLD => Self::Threshold(context),
                    CLAIM => Self::Claim(context),
                    _ => Self::Nothing,
                }
            }
        }
    }
}

impl Device for Plic {
    /// Every register is 32 bits wide and is read as such; of another access nothing is there, and nothing is claimed.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        if let (Ok(data), true) = (<&mut [u8; 4]>::try_from(&mut *data), offset.is_multiple_of(4)) {
            *data = self.lock().read(offset)?.to_le_bytes();
        } else {
            data.fill(0);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
        if let (Ok(data), true) = (<[u8; 4]>::try_from(data), offset.is_multiple_of(4)) {
            self.lock().write(offset, u32::from_le_bytes(data))?;
        }
        Ok(Verdict::Continue)
    }
}

#[cfg(test)]
mod tests;

//! Platform-level interrupt controller (PLIC) in user space, for hosts without an interrupt controller in the kernel.
//!
//! Registers and behaviour: RISC-V Platform-Level Interrupt Controller Specification 1.0.0, with the register map of the
//! Linux binding `sifive,plic-1.0.0.yaml`. Context *n* is the supervisor mode of hart *n*.
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

use hv_core::{Device, DeviceAction, DeviceError, IrqError};

/// Largest number of sources, including source 0, which does not exist.
const MAX_SOURCES: usize = 1024;
/// Offsets of the parts of the register map, and distances between contexts.
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

/// Supervisor external interrupt inputs of the harts.
pub trait HartInterrupts: Send + Sync + 'static {
    /// Sets the supervisor external interrupt of hart `hart`.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the back end fails. Its `line` is the number of the hart.
    fn set(&self, hart: u32, level: bool) -> Result<(), IrqError>;
}

/// PLIC in user space. Clones share one controller: put one clone on the bus, and use another for the interrupt lines.
#[derive(Clone)]
pub struct Plic(Arc<Mutex<State>>);

struct State {
    sources: Vec<Source>,
    contexts: Vec<Context>,
    inputs: Box<dyn HartInterrupts>,
}

/// A source and its gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of a line and its gateway"
)]
struct Source {
    priority: u32,
    /// The level of the device's line.
    level: bool,
    pending: bool,
    /// Claimed and not completed: the gateway does not forward further interrupts.
    claimed: bool,
    /// A rising edge occurred while the source was claimed.
    rose_while_claimed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    enabled: [u32; MAX_SOURCES / 32],
    threshold: u32,
    /// Last level of the hart's input.
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
    /// Highest possible source.
    pub const MAX_SOURCE: u32 = 1023;

    /// A controller with sources 1 to `sources`, or to [`MAX_SOURCE`](Self::MAX_SOURCE) if that is lower, and with one
    /// supervisor context for each of `harts` harts.
    pub fn new(sources: u32, harts: u32, inputs: impl HartInterrupts) -> Self {
        let sources = usize::try_from(sources.min(Self::MAX_SOURCE)).unwrap_or(0);
        let harts = usize::try_from(harts).unwrap_or(0);
        Self(Arc::new(Mutex::new(State {
            sources: vec![Source::default(); sources.saturating_add(1)],
            contexts: vec![Context::NEW; harts],
            inputs: Box::new(inputs),
        })))
    }

    /// Size of the register map of a controller for `harts` harts in bytes.
    #[must_use]
    pub fn mmio_len(harts: u32) -> u64 {
        CONTEXTS.saturating_add(CONTEXT_STRIDE.saturating_mul(harts.into()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that a vCPU's thread panicked; the run reports that panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the level of the interrupt line of `source`. The source becomes pending on a rising edge, and if the line is high
    /// when the guest completes the interrupt. It stays pending after a falling edge.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the source does not exist or a hart's input cannot be set.
    pub fn set_irq(&self, source: u32, level: bool) -> Result<(), IrqError> {
        let mut state = self.lock();
        let entry = usize::try_from(source)
            .ok()
            .filter(|&source| source != 0)
            .and_then(|source| state.sources.get_mut(source));
        let Some(entry) = entry else {
            return Err(IrqError::new(source, "the PLIC does not have this source"));
        };
        let rises = level && !entry.level;
        entry.level = level;
        if rises {
            if entry.claimed {
                entry.rose_while_claimed = true;
            } else {
                entry.pending = true;
            }
        }
        state.update()
    }

    /// Sets the external interrupt input of hart `hart` once more. Call it after the registers of the hart, which contain the
    /// level of the input, were replaced.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the hart's input cannot be set.
    pub fn resend(&self, hart: u32) -> Result<(), IrqError> {
        let state = self.lock();
        let context = usize::try_from(hart)
            .ok()
            .and_then(|hart| state.contexts.get(hart));
        match context {
            Some(context) => state.inputs.set(hart, context.output),
            None => Ok(()),
        }
    }

    /// Resets all registers to zero and clears pending interrupts. The interrupt lines keep their levels.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when a hart's input cannot be set.
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
    /// The source for a claim by `context`: the highest priority, then the lowest number.
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

    /// Sets the inputs of the harts whose level changed.
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

    /// Reads the register at `offset`, a multiple of four. Offsets without a register read as zero.
    fn read(&mut self, offset: u64) -> Result<u32, IrqError> {
        Ok(match PlicRegister::of(offset) {
            PlicRegister::Priority(source) => self.sources.get(source).map_or(0, |source| source.priority),
            PlicRegister::Pending(word) => self
                .sources
                .iter()
                .skip(word.saturating_mul(32))
                .take(32)
                .enumerate()
                .fold(0, |bits, (bit, source)| bits | u32::from(source.pending) << bit),
            PlicRegister::Enable(context, word) => self
                .contexts
                .get(context)
                .and_then(|context| context.enabled.get(word))
                .copied()
                .unwrap_or(0),
            PlicRegister::Threshold(context) => {
                self.contexts.get(context).map_or(0, |context| context.threshold)
            }
            PlicRegister::Claim(context) => {
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
            PlicRegister::Nothing => 0,
        })
    }

    fn write(&mut self, offset: u64, value: u32) -> Result<(), IrqError> {
        match PlicRegister::of(offset) {
            // Source 0 does not exist.
            PlicRegister::Priority(0) | PlicRegister::Pending(_) | PlicRegister::Nothing => return Ok(()),
            PlicRegister::Priority(source) => {
                if let Some(source) = self.sources.get_mut(source) {
                    source.priority = value & PRIORITY_MASK;
                }
            }
            PlicRegister::Enable(context, word) => {
                let exists = self.existing(word);
                let enabled = self
                    .contexts
                    .get_mut(context)
                    .and_then(|c| c.enabled.get_mut(word));
                if let Some(enabled) = enabled {
                    *enabled = value & exists;
                }
            }
            PlicRegister::Threshold(context) => {
                if let Some(context) = self.contexts.get_mut(context) {
                    context.threshold = value & PRIORITY_MASK;
                }
            }
            PlicRegister::Claim(context) => {
                // "If the completion ID does not match an interrupt source that is currently enabled for the target, the
                // completion is silently ignored" (section 9).
                let number = usize::try_from(value).unwrap_or(usize::MAX);
                let enabled = self
                    .contexts
                    .get(context)
                    .is_some_and(|context| context.is_enabled(number));
                if let Some(source) = self.sources.get_mut(number).filter(|s| enabled && s.claimed) {
                    source.claimed = false;
                    source.pending |= source.level || std::mem::take(&mut source.rose_while_claimed);
                    source.rose_while_claimed = false;
                }
            }
        }
        self.update()
    }

    /// Bits of an enable word that belong to existing sources.
    fn existing(&self, word: usize) -> u32 {
        let first = word.saturating_mul(32);
        (0..32)
            .filter(|bit| (1..self.sources.len()).contains(&first.saturating_add(*bit)))
            .fold(0, |bits, bit| bits | 1 << bit)
    }
}

/// Register at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlicRegister {
    Priority(usize),
    /// A word of pending bits.
    Pending(usize),
    /// A context, and a word of its enable bits.
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
    Nothing,
}

impl PlicRegister {
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
    /// Registers have 32 bits. Accesses of other widths read as zero, are ignored as writes, and claim nothing.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        if let (Ok(data), true) = (<&mut [u8; 4]>::try_from(&mut *data), offset.is_multiple_of(4)) {
            *data = self.lock().read(offset)?.to_le_bytes();
        } else {
            data.fill(0);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        if let (Ok(data), true) = (<[u8; 4]>::try_from(data), offset.is_multiple_of(4)) {
            self.lock().write(offset, u32::from_le_bytes(data))?;
        }
        Ok(DeviceAction::Continue)
    }
}

#[cfg(test)]
mod tests;

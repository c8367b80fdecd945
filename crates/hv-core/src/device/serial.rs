//! Serial port (16550A).

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use vm_superio::{Trigger, serial};

use crate::{Device, DeviceAction, DeviceError, IrqError, Milestone, NullObserver, Observer};

/// Interrupt line of a device. [`VmIrqLine`](crate::VmIrqLine) is the line of a virtual machine.
pub trait IrqLine: Send {
    /// Sets the level of the line, for a level-triggered interrupt.
    ///
    /// # Errors
    ///
    /// [`IrqError`] when the back end fails.
    fn set(&self, level: bool) -> Result<(), IrqError>;

    /// Raises and lowers the line, for an edge-triggered interrupt.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    fn pulse(&self) -> Result<(), IrqError> {
        self.set(true)?;
        self.set(false)
    }
}

/// Output of a guest console.
///
/// Implemented for every [`io::Write`] that is [`Send`].
pub trait ConsoleOutput: Send {
    /// Writes all of `bytes` and flushes the output, or keeps the bytes for a bounded time.
    ///
    /// # Errors
    ///
    /// Errors of the host. They end the run.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl<W: Write + Send> ConsoleOutput for W {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.flush()
    }
}

/// Configuration of a [`Serial`] port: interrupt line, output and observer.
#[non_exhaustive]
pub struct SerialConfig {
    /// Interrupt line, pulsed for "received data available" and "transmitter holding register empty".
    pub irq: Box<dyn IrqLine>,
    /// Output of the guest.
    pub output: Box<dyn ConsoleOutput>,
    /// Observer of [`Milestone::FirstConsoleByte`].
    pub observer: Arc<dyn Observer>,
}

impl SerialConfig {
    /// A configuration with this interrupt line and output, without an observer.
    #[must_use]
    pub fn new(irq: Box<dyn IrqLine>, output: Box<dyn ConsoleOutput>) -> Self {
        Self {
            irq,
            output,
            observer: Arc::new(NullObserver),
        }
    }

    /// Sets the observer of the first byte.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }
}

impl fmt::Debug for SerialConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialConfig").finish_non_exhaustive()
    }
}

/// Serial port: a 16550A UART with eight registers of one byte. Clones share the port.
#[derive(Clone)]
pub struct Serial(Arc<Mutex<Port>>);

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

struct Port {
    uart: vm_superio::Serial<UartIrq, serial::NoEvents, UartOutput>,
    /// Input that does not fit into the UART's FIFO yet.
    pending: VecDeque<u8>,
}

impl Serial {
    /// Number of registers.
    pub const LEN: u64 = 8;
    /// First I/O port of the first serial port of a PC.
    pub const COM1_BASE: u16 = 0x3f8;
    /// Interrupt line of the first serial port of a PC.
    pub const COM1_IRQ: u32 = 4;

    /// A serial port in its reset state.
    #[must_use]
    pub fn new(config: SerialConfig) -> Self {
        let SerialConfig {
            irq,
            output,
            observer,
        } = config;
        let output = UartOutput {
            output,
            observer,
            first: true,
        };
        let uart = vm_superio::Serial::new(UartIrq(irq), output);
        Self(Arc::new(Mutex::new(Port {
            uart,
            pending: VecDeque::new(),
        })))
    }

    /// A handle for the input of the port.
    #[must_use]
    pub fn input(&self) -> SerialInput {
        SerialInput(Arc::downgrade(&self.0))
    }
}

/// Input of a serial port, from [`Serial::input`] or [`Board::console_input`](crate::Board::console_input). Clones share the
/// port. A handle does not keep the port and its virtual machine alive.
#[derive(Clone)]
pub struct SerialInput(Weak<Mutex<Port>>);

impl fmt::Debug for SerialInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialInput").finish_non_exhaustive()
    }
}

/// Failure to queue input for the guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The input does not fit into the queue of bytes that the guest has not read.
    #[error("{len} bytes of console input do not fit into the {room} bytes left in the queue")]
    Full {
        /// Length of the input in bytes.
        len: usize,
        /// Free space in the queue in bytes.
        room: usize,
    },
    /// The serial port does not exist any more, as its machine was dropped.
    #[error("the serial port of the console input does not exist any more")]
    Closed,
    /// The interrupt could not be raised.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl SerialInput {
    /// Capacity of the queue in bytes.
    pub const CAPACITY: usize = 64 << 10;

    /// Queues all of `bytes` for the guest, or none of them.
    ///
    /// # Errors
    ///
    /// [`InputError::Full`] when they do not fit into [`CAPACITY`](Self::CAPACITY); [`InputError::Closed`] when the port was
    /// dropped; [`InputError::Device`] when the bytes are queued and the interrupt cannot be raised.
    pub fn push(&self, bytes: &[u8]) -> Result<(), InputError> {
        let port = self.0.upgrade().ok_or(InputError::Closed)?;
        let mut port = lock(&port);
        let room = Self::CAPACITY.saturating_sub(port.pending.len());
        if bytes.len() > room {
            return Err(InputError::Full {
                len: bytes.len(),
                room,
            });
        }
        port.pending.extend(bytes);
        Ok(port.feed()?)
    }
}

/// A poisoned port means that a vCPU's thread panicked; the run reports that panic.
fn lock(port: &Mutex<Port>) -> MutexGuard<'_, Port> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    /// Moves pending input into the UART's FIFO while it has room.
    fn feed(&mut self) -> Result<(), DeviceError> {
        while self.uart.fifo_capacity() > 0 && !self.pending.is_empty() {
            let room = self.uart.fifo_capacity();
            let (front, _) = self.pending.as_slices();
            let chunk = front.get(..room).unwrap_or(front);
            // The UART takes no bytes in loop-back mode.
            let taken = self.uart.enqueue_raw_bytes(chunk).map_err(device_error)?;
            if taken == 0 {
                break;
            }
            self.pending.drain(..taken);
        }
        Ok(())
    }
}

impl Device for Serial {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        let mut port = lock(&self.0);
        for (register, byte) in (offset..).zip(data) {
            *byte = u8::try_from(register).map_or(0xff, |register| port.uart.read(register));
        }
        port.feed()
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        let mut port = lock(&self.0);
        for (register, &byte) in (offset..).zip(data) {
            if let Ok(register) = u8::try_from(register) {
                port.uart.write(register, byte).map_err(device_error)?;
            }
        }
        port.feed()?;
        Ok(DeviceAction::Continue)
    }
}

fn device_error(error: serial::Error<IrqError>) -> DeviceError {
    match error {
        serial::Error::Trigger(error) => DeviceError::Irq(error),
        serial::Error::IOError(error) => DeviceError::Console(error),
        // `feed` never enqueues more than the capacity.
        serial::Error::FullFifo => DeviceError::Console(io::ErrorKind::StorageFull.into()),
    }
}

struct UartIrq(Box<dyn IrqLine>);

impl Trigger for UartIrq {
    type E = IrqError;

    fn trigger(&self) -> Result<(), IrqError> {
        self.0.pulse()
    }
}

/// Transmitter of the UART.
struct UartOutput {
    output: Box<dyn ConsoleOutput>,
    observer: Arc<dyn Observer>,
    first: bool,
}

impl Write for UartOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.first) {
            self.observer
                .milestone(Milestone::FirstConsoleByte, Instant::now());
        }
        self.output.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Timeline;

    /// Register offsets and bits of the 16550A.
    const DATA: u64 = 0;
    const IER: u64 = 1;
    const MCR: u64 = 4;
    const LSR: u64 = 5;
    const SCRATCH: u64 = 7;
    const RECEIVED: u8 = 1;
    const LOOP: u8 = 0x10;

    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicUsize>);

    impl IrqLine for Counter {
        fn set(&self, level: bool) -> Result<(), IrqError> {
            self.0.fetch_add(level.into(), Ordering::Relaxed);
            Ok(())
        }
    }

    struct Broken;

    impl IrqLine for Broken {
        fn set(&self, _: bool) -> Result<(), IrqError> {
            Err(IrqError::new(4, "no irqchip"))
        }
    }

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port(irq: impl IrqLine + 'static, output: impl Write + Send + 'static) -> (Serial, Arc<Timeline>) {
        let observer = Arc::new(Timeline::new());
        let config =
            SerialConfig::new(Box::new(irq), Box::new(output)).with_observer(Arc::clone(&observer) as _);
        (Serial::new(config), observer)
    }

    fn read(serial: &mut Serial, register: u64) -> u8 {
        let mut byte = [0];
        serial.read(register, &mut byte).unwrap();
        byte[0]
    }

    #[test]
    fn output_is_written_and_the_first_byte_is_a_milestone() {
        let output = Shared::default();
        let (mut serial, timeline) = port(Counter::default(), output.clone());
        assert!(timeline.at(Milestone::FirstConsoleByte).is_none());
        for byte in b"hello" {
            serial.write(DATA, &[*byte]).unwrap();
        }
        assert_eq!(*output.0.lock().unwrap(), b"hello");
        assert!(timeline.at(Milestone::FirstConsoleByte).is_some());
        assert_eq!(timeline.entries().len(), 1);
    }

    #[test]
    fn input_longer_than_the_fifo_arrives_whole_and_in_order() {
        let irq = Counter::default();
        let (mut serial, _) = port(irq.clone(), io::sink());
        serial.write(IER, &[RECEIVED]).unwrap();
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(1000).collect();
        serial.input().push(&sent).unwrap();
        assert_eq!(irq.0.load(Ordering::Relaxed), 1);
        let mut received = Vec::new();
        while read(&mut serial, LSR) & RECEIVED != 0 {
            received.push(read(&mut serial, DATA));
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn input_waits_for_the_end_of_loop_back_mode() {
        let (mut serial, _) = port(Counter::default(), io::sink());
        serial.write(MCR, &[LOOP]).unwrap();
        serial.input().push(b"x").unwrap();
        assert_eq!(read(&mut serial, LSR) & RECEIVED, 0);
        serial.write(MCR, &[0]).unwrap();
        assert_eq!(read(&mut serial, DATA), b'x');
    }

    #[test]
    fn a_handle_does_not_keep_the_port_alive() {
        let irq = Counter::default();
        let (serial, _) = port(irq.clone(), io::sink());
        let input = serial.input();
        assert_eq!(Arc::strong_count(&irq.0), 2);
        drop(serial);
        assert_eq!(Arc::strong_count(&irq.0), 1);
        assert!(matches!(input.push(b"x"), Err(InputError::Closed)));
    }

    #[test]
    fn input_is_bounded() {
        let (serial, _) = port(Counter::default(), io::sink());
        let input = serial.input();
        let error = input.push(&vec![0; SerialInput::CAPACITY + 1]).unwrap_err();
        assert!(
            matches!(
                error,
                InputError::Full {
                    room: SerialInput::CAPACITY,
                    ..
                }
            ),
            "{error}"
        );
        input.push(&vec![0; SerialInput::CAPACITY]).unwrap();
        // The FIFO took 64 of them.
        input.push(&[0; 64]).unwrap();
        assert!(matches!(
            input.push(&[0]),
            Err(InputError::Full { len: 1, room: 0 })
        ));
    }

    #[test]
    fn failures_of_the_host_are_told_apart() {
        let (mut serial, _) = port(Counter::default(), Broken);
        assert!(matches!(serial.write(DATA, b"x"), Err(DeviceError::Console(_))));
        let (mut serial, _) = port(Broken, io::sink());
        assert!(matches!(
            serial.write(IER, &[2]),
            Err(DeviceError::Irq(IrqError { line: 4, .. }))
        ));
    }

    #[test]
    fn wide_accesses_go_register_by_register() {
        let (mut serial, _) = port(Counter::default(), io::sink());
        serial.write(SCRATCH, &[0x5a]).unwrap();
        let mut data = [0; 2];
        serial.read(SCRATCH - 1, &mut data).unwrap();
        assert_eq!(data[1], 0x5a);
        serial.read(0xff, &mut data).unwrap();
        assert_eq!(data[1], 0xff, "past the last register number");
    }
}

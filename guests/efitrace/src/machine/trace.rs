//! The log of calls.
#![expect(
    unsafe_code,
    reason = "arguments of calls are on the stack and behind pointers"
)]

use core::cell::UnsafeCell;
use core::fmt::{self, Write as _};

use super::port::DebugConsole;
use super::tables::Tables;
use crate::guid::{Guid, Status};
use crate::pending::{Call, Images, Pending};
use crate::refusal::Refusal;
use crate::services::{SERVICES, Service, Shown};

/// Most images of the firmware.
const FIRMWARE_IMAGES: usize = 512;

/// Most characters of a text, and most pairs of arguments, that are shown.
const TEXT: usize = 64;
const PAIRS: usize = 16;

/// Bytes below a return address in which its image begins, and the size of a page.
const SEARCH: u64 = 96 << 20;
const PAGE: u64 = 4096;

/// Index of ExitBootServices.
const EXIT_BOOT_SERVICES: usize = 26;

/// Where the frame has the return address and the arguments, in words: see `hooks.rs`.
const RETURN_ADDRESS: usize = 7;
const ARGUMENTS: usize = 8;
/// Where it has the first four arguments, which are in registers.
const REGISTERS: [usize; 4] = [4, 3, 2, 1];

/// The address ranges of the firmware's images.
#[derive(Debug)]
pub(super) struct Firmware {
    ranges: [(u64, u64); FIRMWARE_IMAGES],
    count: usize,
}

impl Firmware {
    pub(super) const fn new() -> Self {
        Self {
            ranges: [(0, 0); FIRMWARE_IMAGES],
            count: 0,
        }
    }

    /// Adds an image.
    pub(super) fn add(&mut self, base: u64, length: u64) {
        if let Some(place) = self.ranges.get_mut(self.count) {
            *place = (base, base.saturating_add(length));
            self.count += 1;
        }
    }

    fn contains(&self, address: u64) -> bool {
        let ranges = self.ranges.iter().take(self.count);
        ranges
            .into_iter()
            .any(|(start, end)| (*start..*end).contains(&address))
    }
}

/// What the log needs.
struct State {
    firmware: Firmware,
    refusal: Refusal,
    tables: Option<Tables>,
    /// Address to which logged calls return.
    leave: u64,
    pending: Pending,
    images: Images,
    /// Number of lines so far.
    line: u64,
}

#[repr(transparent)]
struct Cell(UnsafeCell<State>);

// SAFETY: the firmware runs one processor (UEFI specification 2.10, section 2.3), and `on_call` and `on_return` run with interrupts
// off and call nothing outside this program, so that no two of them run at a time.
unsafe impl Sync for Cell {}

static STATE: Cell = Cell(UnsafeCell::new(State {
    firmware: Firmware::new(),
    refusal: Refusal::Nothing,
    tables: None,
    leave: 0,
    pending: Pending::new(),
    images: Images::new(),
    line: 0,
}));

/// Adds an image of the firmware, whose calls pass unseen. To be called before [`prepare`].
pub(super) fn add_firmware(base: u64, length: u64) {
    // SAFETY: no stub is in use yet, so nothing else accesses the state.
    let state = unsafe { &mut *STATE.0.get() };
    state.firmware.add(base, length);
}

/// Prepares the log of calls that `tables` will pass to [`on_call`], and that return to the address `leave`.
pub(super) fn prepare(tables: Tables, leave: u64, refusal: Refusal) {
    // SAFETY: no stub is in use yet, so nothing else accesses the state.
    let state = unsafe { &mut *STATE.0.get() };
    state.refusal = refusal;
    state.tables = Some(tables);
    state.leave = leave;
}

/// Prints a line of the program itself.
pub(super) fn print(arguments: fmt::Arguments<'_>) {
    // The console takes everything.
    let _: fmt::Result = writeln!(DebugConsole, "efitrace: {arguments}");
}

/// The registers and the stack of a call.
#[derive(Clone, Copy)]
struct Frame(*mut u64);

impl Frame {
    /// Argument `index`, from 0 on.
    fn argument(self, index: usize) -> u64 {
        let word = REGISTERS.get(index).copied().unwrap_or(ARGUMENTS + index);
        // SAFETY: `enter` made the frame; arguments behind the fourth are on the caller's stack, of which the table of services names
        // only those that the service has.
        unsafe { self.0.wrapping_add(word).read() }
    }

    fn return_address(self) -> u64 {
        // SAFETY: `enter` made the frame.
        unsafe { self.0.wrapping_add(RETURN_ADDRESS).read() }
    }

    /// Where the return address is.
    fn place(self) -> u64 {
        self.0.wrapping_add(RETURN_ADDRESS).addr() as u64
    }

    fn set_return_address(self, address: u64) {
        // SAFETY: `enter` made the frame, and `leave` restores the address.
        unsafe { self.0.wrapping_add(RETURN_ADDRESS).write(address) };
    }
}

/// Logs a call, as `enter` makes it. Returns the status of a refused call, and otherwise 0.
pub(super) unsafe extern "efiapi" fn on_call(service: usize, frame: *mut u64) -> u64 {
    let frame = Frame(frame);
    // SAFETY: this runs with interrupts off and alone, see `Cell`.
    let state = unsafe { &mut *STATE.0.get() };
    let return_address = frame.return_address();
    let Some(description) = SERVICES.get(service) else {
        return 0;
    };
    if state.firmware.contains(return_address) {
        return 0;
    }
    let image = state.images.number(image_base(return_address));
    state.line += 1;
    // The console takes everything.
    let _: fmt::Result = write!(DebugConsole, "\n{image} {}", description.name);
    let _: fmt::Result = show(description, frame);
    let protocol = description.protocol.and_then(|index| guid(frame.argument(index)));
    if let Some(status) = state.refusal.status(service, protocol) {
        let _: fmt::Result = write!(DebugConsole, " REFUSED = {}", Status(status));
        return status;
    }
    if !description.has_status() {
        return 0;
    }
    let is_seen = state.pending.push(Call {
        stack: frame.place(),
        return_address,
        service,
        image,
        line: state.line,
    });
    if is_seen {
        frame.set_return_address(state.leave);
    }
    0
}

/// Logs the status of a call, and writes its return address to its old `place`, as `leave` makes it.
pub(super) unsafe extern "efiapi" fn on_return(status: u64, place: *mut u64) {
    // SAFETY: this runs with interrupts off and alone, see `Cell`.
    let state = unsafe { &mut *STATE.0.get() };
    let Some(call) = state.pending.pop(place.addr() as u64) else {
        // Only logged calls return here; without its return address the machine cannot continue.
        print(format_args!("a call returned that was not made"));
        loop {
            core::hint::spin_loop();
        }
    };
    let name = SERVICES.get(call.service).map_or("", |service| service.name);
    if call.line != state.line {
        state.line += 1;
        let _: fmt::Result = write!(DebugConsole, "\n{} {name}", call.image);
    }
    let _: fmt::Result = write!(DebugConsole, " = {}", Status(status));
    if call.service == EXIT_BOOT_SERVICES && status == 0 {
        // The kernel moves the runtime services, and takes the memory of this program.
        if let Some(tables) = state.tables {
            tables.unhook();
        }
        let _: fmt::Result = DebugConsole.write_str("\n");
    }
    // SAFETY: `leave` reserved the place.
    unsafe { place.write(call.return_address) };
}

/// Writes the arguments that the description names.
fn show(service: &Service, frame: Frame) -> fmt::Result {
    for shown in service.shown {
        match *shown {
            Shown::Guid(index) => show_guid(frame.argument(index))?,
            Shown::Text(index) => show_text(frame.argument(index))?,
            Shown::Number(label, index) => write!(DebugConsole, " {label}={:#x}", frame.argument(index))?,
            Shown::IsPresent(label, index) => {
                let word = if frame.argument(index) == 0 { "no" } else { "yes" };
                write!(DebugConsole, " {label}={word}")?;
            }
            Shown::GuidPairs(first) => {
                let pairs = (0..PAIRS).map(|pair| frame.argument(first + 2 * pair));
                pairs
                    .take_while(|address| *address != 0)
                    .try_for_each(show_guid)?;
            }
        }
    }
    Ok(())
}

fn show_guid(address: u64) -> fmt::Result {
    match guid(address) {
        Some(guid) => write!(DebugConsole, " {guid}"),
        None => DebugConsole.write_str(" null"),
    }
}

fn show_text(address: u64) -> fmt::Result {
    let text = pointer::<u16>(address);
    if text.is_null() {
        return DebugConsole.write_str(" null");
    }
    DebugConsole.write_str(" ")?;
    for index in 0..TEXT {
        // SAFETY: the service takes a text with a terminating zero here, and this does not read behind it.
        let unit = unsafe { text.wrapping_add(index).read_unaligned() };
        match u8::try_from(unit) {
            Ok(0) => break,
            Ok(byte) if byte.is_ascii_graphic() => DebugConsole.write_char(byte.into())?,
            _ => DebugConsole.write_str("?")?,
        }
    }
    Ok(())
}

/// The GUID at an address; `None` at 0.
fn guid(address: u64) -> Option<Guid> {
    let bytes = pointer::<[u8; 16]>(address);
    if bytes.is_null() {
        return None;
    }
    // SAFETY: the service takes a pointer to a GUID here.
    Some(Guid(unsafe { bytes.read_unaligned() }))
}

/// The start of the image with code at `address`: the nearest page below with the headers of a PE file. 0 if there is none.
fn image_base(address: u64) -> u64 {
    let page = address & !(PAGE - 1);
    let mut pages = (0..SEARCH / PAGE).map_while(|distance| page.checked_sub(distance * PAGE));
    pages.find(|base| *base != 0 && is_image(*base)).unwrap_or(0)
}

fn is_image(base: u64) -> bool {
    let start = pointer::<u8>(base);
    // SAFETY: the memory below code is mapped, as the README requires, and a page has this offset.
    let magic = unsafe { start.cast::<u16>().read() };
    if magic != u16::from_le_bytes(*b"MZ") {
        return false;
    }
    // SAFETY: as above.
    let offset = unsafe { start.wrapping_add(0x3c).cast::<u32>().read() };
    let Ok(offset @ ..0x1000) = usize::try_from(offset) else {
        return false;
    };
    // SAFETY: as above; the next page is mapped as well, because the code is behind it or in it.
    let signature = unsafe { start.wrapping_add(offset).cast::<u32>().read_unaligned() };
    signature == u32::from_le_bytes(*b"PE\0\0")
}

fn pointer<T>(address: u64) -> *const T {
    usize::try_from(address).map_or(core::ptr::null(), core::ptr::with_exposed_provenance)
}

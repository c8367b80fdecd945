//! The structure in runtime memory: tables and state.
#![expect(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "one pointer leads to the structure, which images also write; fields of it are written one by one"
)]

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use efi_core::crc::table_crc32;
use efi_core::variables::Variables;
use efi_core::{Guid, Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::table::Header;
use uefi_raw::table::boot::BootServices;
use uefi_raw::table::configuration::ConfigurationTable;
use uefi_raw::table::runtime::{ResetType, RuntimeServices};
use uefi_raw::table::system::SystemTable;

/// Size of the store of variables in bytes.
pub const VARIABLE_STORE: usize = 256 * 1024;
/// Configuration tables that can be installed.
const MAX_TABLES: usize = 64;
/// Events of `SetVirtualAddressMap`.
const MAX_EVENTS: usize = 64;
/// Characters of the vendor's name with NUL.
pub(crate) const MAX_VENDOR: usize = 64;

/// Functions behind the runtime services. Their code and their context must be in runtime memory, see the crate's page.
/// `SetVirtualAddressMap` converts the addresses of both.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RuntimeHooks {
    /// Passed to each function.
    pub context: *mut c_void,
    /// Stores the time of the clock in UTC, in seconds after 1970-01-01.
    pub get_time: unsafe extern "efiapi" fn(context: *mut c_void, seconds: *mut u64) -> RawStatus,
    /// Sets the clock, or returns `UNSUPPORTED`.
    pub set_time: unsafe extern "efiapi" fn(context: *mut c_void, seconds: u64) -> RawStatus,
    /// Resets or powers off the machine.
    pub reset: unsafe extern "efiapi" fn(context: *mut c_void, kind: ResetType, status: RawStatus) -> !,
}

/// A notification function of `SetVirtualAddressMap`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VirtualEvent {
    pub(crate) event: u64,
    pub(crate) function: u64,
    pub(crate) context: u64,
}

/// State of the runtime services.
#[repr(C)]
pub(crate) struct RuntimeState {
    pub(crate) hooks: RuntimeHooks,
    pub(crate) high_count: u32,
    pub(crate) at_runtime: bool,
    pub(crate) is_virtual: bool,
    /// The map of `SetVirtualAddressMap` during the call: address, length and distance of descriptors.
    pub(crate) virtual_map: (u64, usize, usize),
    pub(crate) events: [VirtualEvent; MAX_EVENTS],
    pub(crate) event_count: usize,
    pub(crate) variables: Variables<VARIABLE_STORE>,
}

/// All of it. The tables are written by images, so no reference to them exists.
#[repr(C)]
pub(crate) struct RuntimeBlock {
    is_lent: AtomicBool,
    pub(crate) system: SystemTable,
    pub(crate) runtime: RuntimeServices,
    pub(crate) vendor: [u16; MAX_VENDOR],
    pub(crate) tables: [ConfigurationTable; MAX_TABLES],
    /// `EFI_RT_PROPERTIES_TABLE`: version and length, services.
    pub(crate) properties: [u32; 2],
    state: RuntimeState,
}

/// The only pointer to the structure; `SetVirtualAddressMap` converts it.
static BLOCK: AtomicPtr<RuntimeBlock> = AtomicPtr::new(ptr::null_mut());

/// The structure, or an error before it exists.
pub(super) fn block() -> Result<*mut RuntimeBlock> {
    let block = BLOCK.load(Ordering::Acquire);
    if block.is_null() {
        Err(Status::UNSUPPORTED)
    } else {
        Ok(block)
    }
}

/// Sets the pointer to the structure.
pub(super) fn set_block(block: *mut RuntimeBlock) {
    BLOCK.store(block, Ordering::Release);
}

/// Initialises the structure in zeroed memory: the state and the runtime services table.
///
/// # Safety
///
/// `block` is valid for reads and writes of a `RuntimeBlock` of zeros until [`remove`] or forever, and nobody else uses it but
/// through the tables.
pub(crate) unsafe fn install(block: *mut RuntimeBlock, services: RuntimeServices, hooks: RuntimeHooks) {
    // SAFETY: valid by the contract. The fields that are not written here are zeros, which are valid values of their types.
    unsafe { (&raw mut (*block).runtime).write(services) };
    // SAFETY: as above.
    unsafe { (&raw mut (*block).state.hooks).write(hooks) };
    set_block(block);
}

/// Forgets the structure, at the end of a firmware that did not exit boot services.
pub(crate) fn remove() {
    set_block(ptr::null_mut());
}

struct Loan(*mut RuntimeBlock);

impl Drop for Loan {
    fn drop(&mut self) {
        // SAFETY: the structure of the loan is valid; the flag is atomic.
        let is_lent = unsafe { &(*self.0).is_lent };
        is_lent.store(false, Ordering::Release);
    }
}

/// Lends the state to a closure, which must not call code of images.
///
/// # Errors
///
/// `NOT_READY` if the state is lent, `UNSUPPORTED` before it exists.
pub(super) fn with_runtime<R>(action: impl FnOnce(&mut RuntimeState) -> Result<R>) -> Result<R> {
    let block = block()?;
    // SAFETY: the pointer is null or valid by the contract of `install`; the flag is atomic.
    let is_lent = unsafe { &(*block).is_lent };
    if is_lent.swap(true, Ordering::Acquire) {
        return Err(Status::NOT_READY);
    }
    let loan = Loan(block);
    // SAFETY: the flag makes this the only reference to the state, and no pointer to the state is given away.
    let state = unsafe { &mut (*block).state };
    let result = action(state);
    drop(loan);
    result
}

/// Lends the variables to a closure.
///
/// # Errors
///
/// Those of `with_runtime` and of the closure.
pub(crate) fn with_variables<R>(
    action: impl FnOnce(&mut Variables<VARIABLE_STORE>) -> Result<R>,
) -> Result<R> {
    with_runtime(|state| action(&mut state.variables))
}

/// Computes the CRC of a table's header.
///
/// # Safety
///
/// `header` is the start of a table of `size` bytes, valid for reads and writes, with initialised padding.
pub(crate) unsafe fn seal(header: *mut Header, size: usize) {
    // SAFETY: valid by the contract; tables consist of numbers and pointers, and their padding is zero.
    let bytes = unsafe { core::slice::from_raw_parts(header.cast::<u8>(), size) };
    let crc = table_crc32(bytes);
    // SAFETY: valid by the contract; the reference above is not used any more.
    unsafe { (&raw mut (*header).crc).write(crc) };
}

/// Computes the CRCs of the system table and of the runtime services.
pub(super) fn seal_tables(block: *mut RuntimeBlock) {
    const { assert!(offset_of!(RuntimeBlock, system) % 8 == 0 && offset_of!(RuntimeBlock, runtime) % 8 == 0) };
    // SAFETY: the structure is valid; this is the whole table.
    unsafe { seal((&raw mut (*block).system).cast(), size_of::<SystemTable>()) };
    // SAFETY: as above.
    unsafe { seal((&raw mut (*block).runtime).cast(), size_of::<RuntimeServices>()) };
}

/// [`seal_tables`] after a change of the system table by the firmware.
///
/// # Errors
///
/// `UNSUPPORTED` before the structure exists.
pub(crate) fn seal_system_table() -> Result<()> {
    seal_tables(block()?);
    Ok(())
}

/// `InstallConfigurationTable`: adds, replaces or, for a null pointer, removes a table.
///
/// # Errors
///
/// `NOT_FOUND` if the table to remove does not exist; `OUT_OF_RESOURCES` if there are too many.
pub(crate) fn add_table(guid: Guid, table: u64) -> Result<()> {
    let block = block()?;
    // SAFETY: the structure is valid; the closure of no loan touches this field.
    let system = unsafe { &raw mut (*block).system };
    // SAFETY: as above.
    let tables = unsafe { &raw mut (*block).tables }.cast::<ConfigurationTable>();
    // SAFETY: the field is initialised.
    let count = unsafe { (*system).number_of_configuration_table_entries }.min(MAX_TABLES);
    let entry = |index: usize| tables.wrapping_add(index);
    // SAFETY: all indices are below the number of tables.
    let found = (0..count).find(|index| unsafe { (*entry(*index)).vendor_guid } == guid);
    let count = match (found, table) {
        (None, 0) => return Err(Status::NOT_FOUND),
        (None, _) if count == MAX_TABLES => return Err(Status::OUT_OF_RESOURCES),
        (Some(index), 0) => {
            // SAFETY: the entries from the next one to the last one move down by one.
            unsafe { ptr::copy(entry(index + 1), entry(index), count - index - 1) };
            count - 1
        }
        (found, table) => {
            let value = ConfigurationTable {
                vendor_guid: guid,
                vendor_table: crate::access::pointer(table),
            };
            // SAFETY: the index is that of an entry or of the first free one.
            unsafe { entry(found.unwrap_or(count)).write(value) };
            if found.is_some() { count } else { count + 1 }
        }
    };
    // SAFETY: the field is valid for a write.
    unsafe { (*system).number_of_configuration_table_entries = count };
    // SAFETY: the field is valid for a write.
    unsafe { (*system).configuration_table = tables };
    seal_tables(block);
    Ok(())
}

/// The end of boot services: the system table has no consoles and no boot services any more, variables have the rules of
/// runtime, and the events of `SetVirtualAddressMap` are kept.
///
/// # Errors
///
/// Those of `with_runtime`.
pub(crate) fn exit_boot_services(events: impl Iterator<Item = VirtualEvent>) -> Result<()> {
    let block = block()?;
    with_runtime(|state| {
        state.at_runtime = true;
        state.variables.exit_boot_services();
        state.event_count = 0;
        for (slot, event) in state.events.iter_mut().zip(events) {
            *slot = event;
            state.event_count += 1;
        }
        Ok(())
    })?;
    // SAFETY: the structure is valid; no reference to the table exists.
    let system = unsafe { &raw mut (*block).system };
    // One field after the other: padding of the table counts in its CRC and stays zero.
    // SAFETY: every field of the table is valid for a write.
    unsafe {
        (&raw mut (*system).stdin_handle).write(ptr::null_mut());
        (&raw mut (*system).stdin).write(ptr::null_mut());
        (&raw mut (*system).stdout_handle).write(ptr::null_mut());
        (&raw mut (*system).stdout).write(ptr::null_mut());
        (&raw mut (*system).stderr_handle).write(ptr::null_mut());
        (&raw mut (*system).stderr).write(ptr::null_mut());
        (&raw mut (*system).boot_services).write(ptr::null_mut::<BootServices>());
    }
    seal_tables(block);
    Ok(())
}

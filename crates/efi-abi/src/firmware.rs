//! The firmware as its platform sees it: set-up, devices, and images.
#![expect(
    unsafe_code,
    reason = "tables and interfaces are written to memory of the firmware"
)]

mod sections;
mod variable_file;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::offset_of;

use disk::{BlockDevice, FileSystem};
use efi_core::device_path::DevicePath;
use efi_core::guids;
use efi_core::handles::{Handle, Pair};
use efi_core::memory::{Attributes, MemoryMap, MemoryType, PAGE_SIZE, Placement};
use efi_core::variables::{OsIndications, Variables};
use efi_core::{Guid, Result, Status};
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::table::Revision;
use uefi_raw::table::boot::BootServices;
use uefi_raw::table::system::SystemTable;

use crate::access::{address, bytes, copy, field, pointer, write};
use crate::boot::{self, ImageFile};
use crate::notify;
use crate::platform::Platform;
use crate::protocol::{
    block_io, collation, device_path_text, disk_io, file, memory_attribute, riscv_boot, rng, text_input,
    text_output,
};
use crate::runtime::{self, MAX_VENDOR, RuntimeBlock, RuntimeHooks, VARIABLE_STORE};
use crate::state::{self, Memory, State, Volume, with};
use crate::stored;

pub use variable_file::VariableFileError;

/// Properties of a firmware.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config<'a> {
    /// Name of the vendor in the system table; at most 63 characters are used.
    pub vendor: &'a str,
    /// Revision of the firmware in the system table.
    pub revision: u32,
    /// Value of `OsIndicationsSupported`.
    pub indications: OsIndications,
    /// Device path of the console; without nodes if there is none.
    pub console: DevicePath<'a>,
}

impl<'a> Config<'a> {
    /// A firmware of this vendor without a user interface of its own.
    #[must_use]
    pub const fn new(vendor: &'a str, revision: u32) -> Self {
        Self {
            vendor,
            revision,
            indications: OsIndications::empty(),
            console: DevicePath::EMPTY,
        }
    }

    /// Sets the device path of the console.
    #[must_use]
    pub const fn with_console(mut self, console: DevicePath<'a>) -> Self {
        self.console = console;
        self
    }

    /// Sets the supported indications.
    #[must_use]
    pub const fn with_indications(mut self, indications: OsIndications) -> Self {
        self.indications = indications;
        self
    }
}

/// A part of the set-up that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildError {
    /// What was set up.
    pub part: &'static str,
    /// The reason.
    pub status: Status,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the firmware's {} cannot be set up", self.part)
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.status)
    }
}

/// Where an image comes from.
#[derive(Clone, Copy, Debug)]
pub enum ImageSource<'a> {
    /// The bytes of an image, and the device path that it has for programs.
    Bytes(&'a [u8], Option<DevicePath<'a>>),
    /// The device path of a file on a volume, or of a device that provides images. It may begin with the partition.
    Path(DevicePath<'a>),
}

/// End of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// The status that it returned or passed to `Exit`.
    pub status: Status,
    /// Exit data: text with NUL in UCS-2, and further data.
    pub data: Vec<u8>,
}

/// The firmware of this program. There is one at a time; dropping it removes it, unless boot services were exited.
#[derive(Debug)]
#[must_use = "the firmware is removed when this is dropped"]
pub struct Firmware(());

/// Services of `EFI_RT_PROPERTIES_TABLE`: all but those of alarms and capsules.
const RUNTIME_SERVICES: u32 = 0x27f3;

impl Firmware {
    /// Sets up the tables and the protocols of the firmware in memory of the map.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if memory does not suffice, or the program has a firmware.
    ///
    /// # Safety
    ///
    /// - Conventional memory of the map is RAM at these addresses, identity-mapped, readable, writable and executable, and
    ///   nobody else uses it. It stays so until the firmware is dropped.
    /// - Services, and methods of the firmware, are called by one CPU only, on a stack with at least 128 KiB for images, or their
    ///   calls are ordered otherwise.
    /// - The functions of `hooks` can be called with its context, at any time. Code and data are where the crate's page says.
    pub unsafe fn install(
        platform: Box<dyn Platform>,
        map: MemoryMap,
        hooks: RuntimeHooks,
        config: &Config<'_>,
    ) -> core::result::Result<Self, BuildError> {
        let at = |part| move |status| BuildError { part, status };
        let mut memory = Memory::new(map);
        let kind = MemoryType::RUNTIME_SERVICES_DATA;
        let block = zeroed::<RuntimeBlock>(&mut memory, kind).map_err(at("runtime memory"))?;
        let services = zeroed::<BootServices>(&mut memory, MemoryType::BOOT_SERVICES_DATA);
        let services = services.map_err(at("boot services"))?;
        let mut state = State::new(platform, memory);
        // SAFETY: the block is in zeroed memory that was just allocated.
        state.addresses.system_table = address(unsafe { &raw const (*block).system });
        state::install(state).map_err(at("state"))?;
        let firmware = Self(());
        // SAFETY: the block is in zeroed memory that was just allocated.
        unsafe { runtime::install(block, runtime::table(), hooks) };
        // SAFETY: the memory was just allocated for the table.
        unsafe { services.write(boot::table()) };
        // SAFETY: the table has no padding.
        unsafe { runtime::seal(services.cast(), size_of::<BootServices>()) };
        // SAFETY: both were just allocated.
        unsafe { write_system_table(block, services, config) };
        with(|state| install_protocols(state, block)).map_err(at("protocols"))?;
        with(|state| install_console(state, block, config.console)).map_err(at("console"))?;
        let variables =
            runtime::with_variables(|variables| variables.set_firmware_variables(config.indications));
        variables.map_err(at("variables"))?;
        // SAFETY: the field is in the block.
        let properties = address(unsafe { &raw const (*block).properties });
        runtime::add_table(guids::RT_PROPERTIES_TABLE, properties).map_err(at("configuration tables"))?;
        let table = with(|state| state.attributes_table.allocate(&mut state.memory));
        let table = table.and_then(|table| runtime::add_table(guids::MEMORY_ATTRIBUTES_TABLE, table));
        table.map_err(at("memory attributes table"))?;
        runtime::seal_system_table().map_err(at("system table"))?;
        Ok(firmware)
    }

    /// The system table, which images get. It stays valid after `ExitBootServices`.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` after `ExitBootServices`.
    pub fn system_table(&self) -> Result<*mut SystemTable> {
        with(|state| Ok(pointer(state.addresses.system_table)))
    }

    /// Adds a disk or a partition: block I/O, disk I/O and its device path.
    ///
    /// # Errors
    ///
    /// `ALREADY_STARTED` if another handle has the device path.
    pub fn add_disk(
        &self,
        device: &'static dyn BlockDevice,
        path: DevicePath<'_>,
        is_partition: bool,
    ) -> Result<Handle> {
        let media = leak(block_io::media(device, is_partition));
        let block_io = address(leak(block_io::interface(media)));
        let disk_io = address(leak(disk_io::interface()));
        with(|state| {
            let path = leak_path(state, path)?;
            let pairs = [
                (guids::DEVICE_PATH, path),
                (guids::BLOCK_IO, block_io),
                (guids::DISK_IO, disk_io),
            ];
            state.storage.add_disk(block_io, device);
            state.storage.add_disk(disk_io, device);
            install(state, None, &pairs)
        })
    }

    /// Adds a file system to the handle of a partition.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle is invalid or has a file system.
    pub fn add_volume(&self, handle: Handle, file_system: &'static dyn FileSystem) -> Result<()> {
        let interface = address(leak(file::volume_interface()));
        with(|state| {
            install(state, Some(handle), &[(guids::SIMPLE_FILE_SYSTEM, interface)])?;
            state.storage.add_volume(interface, Volume { file_system });
            Ok(())
        })
    }

    /// Adds or replaces a configuration table, such as those of ACPI, SMBIOS and the device tree.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if there are too many.
    pub fn add_configuration_table(&self, guid: Guid, table: u64) -> Result<()> {
        runtime::add_table(guid, table)
    }

    /// Allows changes of the variables. Those that are not volatile are then written to the file, if there is one; a failure
    /// of that is a message on the console.
    ///
    /// # Errors
    ///
    /// Those of the closure.
    pub fn variables<R>(
        &self,
        action: impl FnOnce(&mut Variables<VARIABLE_STORE>) -> Result<R>,
    ) -> Result<R> {
        let result = runtime::with_variables(action);
        stored::save_or_report();
        result
    }

    /// Allows changes of the memory map, for example to reserve memory.
    ///
    /// # Errors
    ///
    /// Those of the closure; `UNSUPPORTED` after `ExitBootServices`.
    pub fn memory_map<R>(&self, action: impl FnOnce(&mut MemoryMap) -> Result<R>) -> Result<R> {
        with(|state| action(&mut state.memory.map))
    }

    /// The device path of a handle.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if it has none.
    pub fn device_path(&self, handle: Handle) -> Result<Vec<u8>> {
        with(|state| {
            let path = boot::device_path_of(state, handle).ok_or(Status::NOT_FOUND)?;
            Ok(path.as_bytes().to_vec())
        })
    }

    /// Signals the events of a boot option that is about to be started.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` after `ExitBootServices`.
    pub fn signal_ready_to_boot(&self) -> Result<()> {
        for group in [guids::EVENT_READY_TO_BOOT, guids::EVENT_AFTER_READY_TO_BOOT] {
            with(|state| {
                state.events.signal_group(group);
                Ok(())
            })?;
            notify::dispatch_pending()?;
        }
        Ok(())
    }

    /// `LoadImage` by the firmware. The reason of an error is also written to the console.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if the path leads to no file; `UNSUPPORTED` if the file is no image for this CPU; `LOAD_ERROR` if it is
    /// malformed; `DEVICE_ERROR` if it cannot be read; `OUT_OF_RESOURCES` if memory does not suffice.
    pub fn load_image(&self, source: ImageSource<'_>) -> Result<Handle> {
        let parent = with(|state| state.firmware.ok_or(Status::NOT_READY))?;
        let file = match source {
            ImageSource::Bytes(bytes, path) => ImageFile::Buffer(bytes, path),
            ImageSource::Path(path) => ImageFile::Path(path, true),
        };
        boot::load(parent, file)
    }

    /// Sets the load options of an image that was loaded and not started: the optional data of a boot option, or a command line
    /// in UCS-2 with NUL.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image; `OUT_OF_RESOURCES` if memory does not suffice.
    pub fn set_load_options(&self, image: Handle, options: &[u8]) -> Result<()> {
        with(|state| {
            let loaded = *state.loaded.get(&image).ok_or(Status::INVALID_PARAMETER)?;
            let size = u32::try_from(options.len()).or(Err(Status::OUT_OF_RESOURCES))?;
            let buffer = state.memory.allocate(MemoryType::LOADER_DATA, options.len())?;
            // SAFETY: the piece has room for the options.
            unsafe { copy(pointer(buffer), options) }?;
            let interface = pointer::<LoadedImageProtocol>(loaded.interface);
            // SAFETY: the interface is in the pool as long as the image is loaded.
            unsafe {
                write(
                    field(interface, offset_of!(LoadedImageProtocol, load_options_size)),
                    size,
                )
            }?;
            // SAFETY: as above.
            unsafe {
                write(
                    field(interface, offset_of!(LoadedImageProtocol, load_options)),
                    buffer,
                )
            }
        })
    }

    /// `StartImage` by the firmware: returns when the image has ended.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image or the image was started; `UNSUPPORTED` if the image has exited boot
    /// services and returned, which it must not.
    pub fn start_image(&self, image: Handle) -> Result<Exited> {
        let (status, data) = boot::start(image)?;
        let mut copied = Vec::new();
        if data.address != 0 && data.size > 0 {
            // SAFETY: Exit has the contract that this is a buffer of the pool, of this size.
            copied.extend_from_slice(unsafe { bytes(pointer(data.address), data.size) }?);
            // A buffer that is not of the pool stays.
            let _ = with(|state| state.memory.free(data.address));
        }
        Ok(Exited { status, data: copied })
    }

    /// `UnloadImage` by the firmware.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image; `UNSUPPORTED` if it runs, or cannot be unloaded.
    pub fn unload_image(&self, image: Handle) -> Result<()> {
        boot::unload(image)
    }
}

impl Drop for Firmware {
    fn drop(&mut self) {
        // Only a platform that breaks its contract could have lent the state; it then stays.
        let _ = state::remove();
        runtime::remove();
    }
}

/// Zeroed pages for a value.
fn zeroed<T>(memory: &mut Memory, kind: MemoryType) -> Result<*mut T> {
    let pages = (size_of::<T>() as u64).div_ceil(PAGE_SIZE);
    let start = pointer::<T>(memory.map.allocate(Placement::Any, kind, pages)?);
    // SAFETY: the pages were just allocated, and have room for the value.
    unsafe { start.write_bytes(0, 1) };
    Ok(start)
}

/// An interface in the firmware's memory, for ever.
fn leak<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// A device path in the firmware's memory, for ever, if no handle has it.
fn leak_path(state: &State, path: DevicePath<'_>) -> Result<u64> {
    let handles = state
        .handles
        .locate(efi_core::handles::Search::Protocol(guids::DEVICE_PATH))
        .unwrap_or_default();
    if handles
        .into_iter()
        .any(|handle| boot::device_path_of(state, handle) == Some(path))
    {
        return Err(Status::ALREADY_STARTED);
    }
    let bytes = Box::leak(path.as_bytes().to_vec().into_boxed_slice());
    Ok(address(bytes.as_ptr()))
}

fn install(state: &mut State, handle: Option<Handle>, pairs: &[Pair]) -> Result<Handle> {
    let handle = state.handles.install_multiple(handle, pairs)?;
    state.signal_registrations();
    Ok(handle)
}

/// Writes the fields of the system table that do not change.
///
/// # Safety
///
/// `block` and `services` are valid, and nobody else uses them.
unsafe fn write_system_table(block: *mut RuntimeBlock, services: *mut BootServices, config: &Config<'_>) {
    // SAFETY: valid by the contract.
    let block = unsafe { &mut *block };
    let units = config.vendor.encode_utf16().take(MAX_VENDOR - 1);
    for (target, unit) in block.vendor.iter_mut().zip(units) {
        *target = unit;
    }
    block.properties = [1 | 8 << 16, RUNTIME_SERVICES];
    let system = &mut block.system;
    system.header.signature = SystemTable::SIGNATURE;
    system.header.revision = Revision::EFI_2_100;
    system.header.size = u32::try_from(size_of::<SystemTable>()).unwrap_or(0);
    system.firmware_vendor = block.vendor.as_ptr();
    system.firmware_revision = config.revision;
    system.runtime_services = &raw mut block.runtime;
    system.boot_services = services;
    system.configuration_table = block.tables.as_mut_ptr();
}

/// Installs the protocols that belong to no device on the handle of the firmware.
fn install_protocols(state: &mut State, block: *mut RuntimeBlock) -> Result<()> {
    let mut pairs = alloc::vec![
        (
            guids::DEVICE_PATH_TO_TEXT,
            address(leak(device_path_text::interface()))
        ),
        (guids::UNICODE_COLLATION2, address(leak(collation::interface()))),
    ];
    if state.platform.random(&mut []) {
        pairs.push((guids::RNG, address(leak(rng::interface()))));
    }
    if state.platform.boot_hart().is_some() {
        pairs.push((guids::RISCV_BOOT, address(leak(riscv_boot::interface()))));
    }
    // Runtime data is no code; a platform that can protect it protects other memory as well.
    let len = (size_of::<RuntimeBlock>() as u64).next_multiple_of(PAGE_SIZE);
    let start = address(block);
    if state.platform.protect(start, len, Attributes::XP).is_ok() {
        state.memory.protections.set(start, len, Attributes::XP)?;
        pairs.push((
            guids::MEMORY_ATTRIBUTE,
            address(leak(memory_attribute::interface())),
        ));
    }
    state.firmware = Some(install(state, None, &pairs)?);
    Ok(())
}

/// Installs the console, and puts it in the system table.
fn install_console(state: &mut State, block: *mut RuntimeBlock, path: DevicePath<'_>) -> Result<()> {
    let mode = leak(text_output::mode(state));
    state.addresses.text_mode = address(mode);
    let event = boot::key_event(state)?;
    let output = leak(text_output::interface(mode));
    let input = leak(text_input::interface(pointer(event)));
    let input_ex = leak(text_input::interface_ex(pointer(event)));
    let mut pairs = alloc::vec![
        (guids::SIMPLE_TEXT_OUTPUT, address(output)),
        (guids::SIMPLE_TEXT_INPUT, address(input)),
        (guids::SIMPLE_TEXT_INPUT_EX, address(input_ex)),
    ];
    if !path.is_empty() {
        pairs.push((guids::DEVICE_PATH, leak_path(state, path)?));
    }
    let handle = install(state, None, &pairs)?;
    // SAFETY: the block is valid, and no image has run that could use it.
    let system = unsafe { &mut (*block).system };
    system.stdin_handle = pointer(handle.0);
    system.stdin = input;
    system.stdout_handle = pointer(handle.0);
    system.stdout = output;
    system.stderr_handle = pointer(handle.0);
    system.stderr = output;
    Ok(())
}

//! Entry of the application: hooks the tables and starts the boot loader.
#![expect(
    unsafe_code,
    reason = "the firmware's tables are pointers to functions and structures"
)]

use core::ffi::c_void;
use core::panic::PanicInfo;
use core::ptr;

use r_efi::efi;
use r_efi::protocols::{device_path, loaded_image};

use super::tables::Tables;
use super::{fw_cfg, hooks, trace};
use crate::guid::Status;
use crate::refusal::Refusal;

/// The file of QEMU's fw_cfg with the calls to refuse.
const REFUSAL: &str = "opt/vmboot/efitrace";

/// The boot loader. shim starts its fallback program only if its own name begins with `\EFI\BOOT\BOOT`.
const ORIGINAL: &str = "\\EFI\\BOOT\\BOOTORIG.EFI\0";

/// Longest device path of a disk, in bytes.
const PATH: usize = 1024;

/// Type and subtype of nodes of device paths (UEFI specification 2.10, sections 10.3.1 and 10.3.5.4).
const END: u8 = 0x7f;
const MEDIA: u8 = 4;
const FILE_PATH: u8 = 4;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    trace::print(format_args!("{info}"));
    loop {
        core::hint::spin_loop();
    }
}

// SAFETY: the linker's option /ENTRY of this target is `efi_main`, and nothing else has this name.
#[unsafe(no_mangle)]
unsafe extern "efiapi" fn efi_main(handle: efi::Handle, system: *mut efi::SystemTable) -> efi::Status {
    // SAFETY: the firmware passes a valid system table.
    let boot = unsafe { (*system).boot_services };
    // SAFETY: as above.
    let runtime = unsafe { (*system).runtime_services };
    // SAFETY: the table is that of the system table.
    let services = unsafe { &*boot };
    // SAFETY: `services` is the table of the firmware.
    unsafe { add_images(services) };
    // SAFETY: as above, and the handle is that of this image.
    let image = match unsafe { load(services, handle) } {
        Ok(image) => image,
        Err(status) => {
            trace::print(format_args!("cannot load {ORIGINAL}: {}", show(status)));
            return status;
        }
    };
    let mut buffer = [0; 256];
    let text = str::from_utf8(fw_cfg::read(REFUSAL, &mut buffer)).unwrap_or("not UTF-8");
    let Some(refusal) = Refusal::parse(text.trim_end_matches('\0')) else {
        trace::print(format_args!("cannot understand {text:?}"));
        return efi::Status::INVALID_PARAMETER;
    };
    let start_image = services.start_image;
    trace::print(format_args!("start"));
    // SAFETY: these are the tables of the system table; the log ends with boot services.
    let tables = unsafe { Tables::new(boot.cast(), runtime.cast()) };
    trace::prepare(tables, hooks::leave(), refusal);
    tables.hook(hooks::stubs());
    // SAFETY: the firmware loaded the image.
    let status = unsafe { start_image(image, ptr::null_mut(), ptr::null_mut()) };
    tables.unhook();
    trace::print(format_args!("{}", show(status)));
    status
}

fn show(status: efi::Status) -> Status {
    Status(status.as_usize() as u64)
}

/// Notes the images that were loaded before, which are the firmware's and this one.
///
/// # Safety
///
/// `services` is the table of the firmware.
unsafe fn add_images(services: &efi::BootServices) {
    let mut protocol = loaded_image::PROTOCOL_GUID;
    let mut count = 0;
    let mut handles: *mut efi::Handle = ptr::null_mut();
    // SAFETY: the caller guarantees the table; the pointers are to variables of their types.
    let status = unsafe {
        (services.locate_handle_buffer)(
            efi::BY_PROTOCOL,
            &raw mut protocol,
            ptr::null_mut(),
            &raw mut count,
            &raw mut handles,
        )
    };
    if status != efi::Status::SUCCESS {
        return;
    }
    for index in 0..count {
        // SAFETY: the firmware allocated `count` handles.
        let handle = unsafe { handles.wrapping_add(index).read() };
        // SAFETY: the caller guarantees the table; the interface of this protocol is this structure.
        if let Ok(image) = unsafe { interface::<loaded_image::Protocol>(services, handle, protocol) } {
            // SAFETY: the firmware returned a valid interface.
            let image = unsafe { image.read() };
            trace::add_firmware(image.image_base.addr() as u64, image.image_size);
        }
    }
}

/// The interface of a protocol on a handle.
///
/// # Safety
///
/// `services` is the table of the firmware, and `T` the structure of the protocol.
unsafe fn interface<T>(
    services: &efi::BootServices,
    handle: efi::Handle,
    mut protocol: efi::Guid,
) -> Result<*mut T, efi::Status> {
    let mut found: *mut c_void = ptr::null_mut();
    // SAFETY: the caller guarantees the table; the pointers are to variables of their types.
    match unsafe { (services.handle_protocol)(handle, &raw mut protocol, &raw mut found) } {
        efi::Status::SUCCESS => Ok(found.cast()),
        status => Err(status),
    }
}

/// Loads the boot loader from the file system that this image was loaded from.
///
/// # Safety
///
/// `services` is the table of the firmware, and `handle` that of this image.
unsafe fn load(services: &efi::BootServices, handle: efi::Handle) -> Result<efi::Handle, efi::Status> {
    // SAFETY: as the caller guarantees.
    let image =
        unsafe { interface::<loaded_image::Protocol>(services, handle, loaded_image::PROTOCOL_GUID) }?;
    // SAFETY: the firmware returned a valid interface.
    let device = unsafe { (*image).device_handle };
    // SAFETY: as the caller guarantees; a device path begins with a node header.
    let path = unsafe { interface::<u8>(services, device, device_path::PROTOCOL_GUID) }?;
    let mut buffer = [0; PATH];
    // SAFETY: the firmware returned a device path.
    let length = unsafe { copy_nodes(path, &mut buffer) }.ok_or(efi::Status::BAD_BUFFER_SIZE)?;
    append_file(&mut buffer, length).ok_or(efi::Status::BAD_BUFFER_SIZE)?;
    let mut loaded: efi::Handle = ptr::null_mut();
    let path = buffer.as_mut_ptr().cast::<device_path::Protocol>();
    // SAFETY: the caller guarantees the table and the handle; the path ends with an end node.
    let status = unsafe {
        (services.load_image)(
            efi::Boolean::FALSE,
            handle,
            path,
            ptr::null_mut(),
            0,
            &raw mut loaded,
        )
    };
    match status {
        efi::Status::SUCCESS => Ok(loaded),
        status => Err(status),
    }
}

/// Copies the nodes of a device path before its end, and returns their length.
///
/// # Safety
///
/// `path` is a device path.
unsafe fn copy_nodes(path: *const u8, buffer: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        // SAFETY: a device path consists of nodes with a header of four bytes up to an end node.
        let [kind, _, low, high] = unsafe { path.wrapping_add(length).cast::<[u8; 4]>().read() };
        if kind == END {
            return Some(length);
        }
        let end = length + usize::from(u16::from_le_bytes([low, high])).max(4);
        for (index, place) in buffer.get_mut(length..end)?.iter_mut().enumerate() {
            // SAFETY: the node has this length.
            *place = unsafe { path.wrapping_add(length + index).read() };
        }
        length = end;
    }
}

/// Appends a node with the name of the boot loader, and the end.
fn append_file(buffer: &mut [u8], length: usize) -> Option<()> {
    let name = ORIGINAL.encode_utf16().flat_map(u16::to_le_bytes);
    let [low, high] = u16::try_from(4 + 2 * ORIGINAL.len()).ok()?.to_le_bytes();
    let node = [MEDIA, FILE_PATH, low, high].into_iter().chain(name);
    let path = node.chain([END, 0xff, 4, 0]);
    let mut places = buffer.get_mut(length..)?.iter_mut();
    for byte in path {
        *places.next()? = byte;
    }
    Some(())
}

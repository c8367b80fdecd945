//! `EFI_DEVICE_PATH_TO_TEXT_PROTOCOL`, UEFI 2.10 section 10.6.2.
#![expect(unsafe_code, reason = "functions called by images")]

use alloc::string::String;

use efi_core::device_path::{DevicePath, Header, Node};
use efi_core::memory::MemoryType;
use efi_core::{Result, Status};
use uefi_raw::Boolean;
use uefi_raw::protocol::device_path::{DevicePathProtocol, DevicePathToTextProtocol};

use crate::access::{bytes, copy_units, device_path, pointer, read};
use crate::state::with;

/// The interface.
pub(crate) fn interface() -> DevicePathToTextProtocol {
    DevicePathToTextProtocol {
        convert_device_node_to_text,
        convert_device_path_to_text,
    }
}

/// A text in the pool, which the caller frees; null on errors.
fn text_in_pool(text: Result<String>) -> *mut u16 {
    let result = text.and_then(|text| {
        let size = (text.encode_utf16().count() + 1) * size_of::<u16>();
        let target = with(|state| state.memory.allocate(MemoryType::BOOT_SERVICES_DATA, size))?;
        let target = pointer::<u16>(target);
        // SAFETY: the piece has room for the text.
        unsafe { copy_units(target, text.encode_utf16()) }?;
        Ok(target)
    });
    result.unwrap_or(core::ptr::null_mut())
}

unsafe extern "efiapi" fn convert_device_node_to_text(
    node: *const DevicePathProtocol,
    _: Boolean,
    _: Boolean,
) -> *mut u16 {
    // SAFETY: the caller passes null or a node.
    text_in_pool(unsafe { node_text(node.cast()) })
}

unsafe fn node_text(node: *const u8) -> Result<String> {
    // SAFETY: null or a node by the contract of the function.
    let header = unsafe { read(node.cast::<[u8; 4]>()) }?;
    let len = Header::read(0, header)?.len;
    // SAFETY: the node has this length.
    let bytes = unsafe { bytes(node, len) }?;
    let ([kind, subtype, _, _], data) = bytes.split_first_chunk::<4>().ok_or(Status::INVALID_PARAMETER)?;
    Ok(Node {
        kind: *kind,
        subtype: *subtype,
        data,
    }
    .to_text())
}

unsafe extern "efiapi" fn convert_device_path_to_text(
    path: *const DevicePathProtocol,
    _: Boolean,
    _: Boolean,
) -> *mut u16 {
    // SAFETY: the caller passes null or a device path.
    text_in_pool(unsafe { device_path(path.cast()) }.map(DevicePath::to_text))
}

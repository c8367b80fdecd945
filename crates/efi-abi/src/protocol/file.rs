//! `EFI_SIMPLE_FILE_SYSTEM_PROTOCOL` and `EFI_FILE_PROTOCOL`, UEFI 2.10 sections 13.4 and 13.5. Volumes are read-only.
#![expect(unsafe_code, reason = "functions called by images")]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ops::ControlFlow;

use boot_core::SizedSource;
use disk::{DirPosition, FsError, Node};
use efi_core::{Guid, Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::protocol::file_system::{
    FileAttribute, FileMode, FileProtocolRevision, FileProtocolV1, SimpleFileSystemProtocol,
};

use super::file_info::{file_info, file_system_info, volume_label};
use crate::access::{
    address, bytes_mut, fill, guid, raw, read as read_value, reply, units, write as write_value,
};
use crate::state::{OpenFile, State, Volume, with};

type This = *mut FileProtocolV1;

/// The interface of a volume.
pub(crate) fn volume_interface() -> SimpleFileSystemProtocol {
    SimpleFileSystemProtocol {
        revision: 0x1_0000,
        open_volume,
    }
}

/// The interface of a file.
fn interface() -> FileProtocolV1 {
    FileProtocolV1 {
        revision: FileProtocolRevision::REVISION_1,
        open,
        close,
        delete,
        read,
        write,
        get_position,
        set_position,
        get_info,
        set_info,
        flush,
    }
}

/// The status of an error of a file system.
fn status_of(error: &FsError) -> Status {
    match error {
        FsError::Read(_) => Status::DEVICE_ERROR,
        FsError::Path(_) => Status::INVALID_PARAMETER,
        _ => Status::VOLUME_CORRUPTED,
    }
}

unsafe extern "efiapi" fn open_volume(this: *mut SimpleFileSystemProtocol, target: *mut This) -> RawStatus {
    if target.is_null() {
        return raw(Status::INVALID_PARAMETER);
    }
    let result = with(|state| {
        let volume = state.storage.volume(address(this))?;
        let root = volume.file_system.root();
        add(state, volume, root, String::new())
    });
    // SAFETY: not null, so valid by the contract of the function.
    reply(result.and_then(|file| unsafe { write_value(target, file) }))
}

/// Opens a node and returns its interface.
fn add(state: &mut State, volume: Volume, node: Node, path: String) -> Result<This> {
    if !state.storage.has_room() {
        return Err(Status::OUT_OF_RESOURCES);
    }
    let source = if node.is_file() {
        Some(
            volume
                .file_system
                .open(&node)
                .map_err(|error| status_of(&error))?,
        )
    } else {
        None
    };
    let interface = Box::into_raw(Box::new(interface()));
    let file = OpenFile {
        volume,
        node,
        path,
        source,
        position: 0,
        directory_position: DirPosition::START,
    };
    state.storage.add_file(address(interface), file);
    Ok(interface)
}

/// The path of a name relative to a directory: components with `.` and `..` applied. A name with a leading backslash is
/// relative to the root.
fn resolve(directory: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    if !name.starts_with(['\\', '/']) {
        parts.extend(directory.split('/').filter(|part| !part.is_empty()));
    }
    for part in name.split(['\\', '/']) {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

unsafe extern "efiapi" fn open(
    this: This,
    target: *mut This,
    name: *const u16,
    mode: FileMode,
    _: FileAttribute,
) -> RawStatus {
    if target.is_null() {
        return raw(Status::INVALID_PARAMETER);
    }
    // SAFETY: the caller passes null or a text with NUL.
    let name = unsafe { units(name) };
    let result = name.and_then(|name| {
        let name = String::from_utf16(&name).or(Err(Status::NOT_FOUND))?;
        let all = FileMode::READ | FileMode::WRITE | FileMode::CREATE;
        if !mode.contains(FileMode::READ) || !all.contains(mode) {
            return Err(Status::INVALID_PARAMETER);
        }
        with(|state| {
            let file = state.storage.file(address(this))?;
            let volume = file.volume;
            // A name relative to a file is one in its directory.
            let directory = if file.node.is_directory() {
                file.path.as_str()
            } else {
                file.path.rsplit_once('/').map_or("", |(directory, _)| directory)
            };
            let path = resolve(directory, &name);
            if mode != FileMode::READ {
                return Err(Status::WRITE_PROTECTED);
            }
            let node = volume
                .file_system
                .lookup(&path)
                .map_err(|error| status_of(&error))?;
            add(state, volume, node.ok_or(Status::NOT_FOUND)?, path)
        })
    });
    // SAFETY: not null, so valid by the contract of the function.
    reply(result.and_then(|file| unsafe { write_value(target, file) }))
}

unsafe extern "efiapi" fn close(this: This) -> RawStatus {
    let result = with(|state| state.storage.close_file(address(this)));
    if result.is_ok() {
        // SAFETY: the address was that of an open file, so it is from `Box::into_raw`; it is not one any more.
        drop(unsafe { Box::from_raw(this) });
    }
    reply(result)
}

/// A file cannot be deleted, but is closed.
unsafe extern "efiapi" fn delete(this: This) -> RawStatus {
    // SAFETY: the contract is the same.
    let status = unsafe { close(this) };
    if status == RawStatus::SUCCESS {
        raw(Status::WARN_DELETE_FAILURE)
    } else {
        status
    }
}

unsafe extern "efiapi" fn read(this: This, size: *mut usize, buffer: *mut c_void) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { read_to(this, size, buffer.cast()) })
}

unsafe fn read_to(this: This, size: *mut usize, buffer: *mut u8) -> Result<()> {
    // SAFETY: null or valid by the contract of the function.
    let room = unsafe { read_value(size) }?;
    with(|state| {
        let file = state.storage.file(address(this))?;
        let Some(source) = &file.source else {
            // SAFETY: as above.
            return unsafe { read_directory(file, size, buffer) };
        };
        let source = SizedSource::new(&**source).or(Err(Status::DEVICE_ERROR))?;
        let rest = source
            .len()
            .checked_sub(file.position)
            .ok_or(Status::DEVICE_ERROR)?;
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(room);
        // SAFETY: the caller passes a buffer of `room` bytes.
        let buffer = unsafe { bytes_mut(buffer, len) }?;
        source
            .read_exact_at(file.position, buffer)
            .or(Err(Status::DEVICE_ERROR))?;
        file.position += len as u64;
        // SAFETY: null or valid by the contract of the function.
        unsafe { write_value(size, len) }
    })
}

/// The next entry of a directory; size 0 at its end.
unsafe fn read_directory(file: &mut OpenFile, size: *mut usize, buffer: *mut u8) -> Result<()> {
    let mut found = None;
    let file_system = file.volume.file_system;
    let visited = file_system.read_dir(&file.node, file.directory_position, &mut |entry| {
        found = Some((file_info(entry.name, &entry.node, file_system), entry.next));
        ControlFlow::Break(())
    });
    visited.map_err(|error| status_of(&error))?;
    let (info, next) = found.unwrap_or((Vec::new(), file.directory_position));
    // SAFETY: null or valid by the contract of the function.
    unsafe { fill(size, buffer, &info) }?;
    file.directory_position = next;
    Ok(())
}

unsafe extern "efiapi" fn write(this: This, _: *mut usize, _: *const c_void) -> RawStatus {
    refuse_write(this)
}

/// `WRITE_PROTECTED` for files, `UNSUPPORTED` for directories.
fn refuse_write(this: This) -> RawStatus {
    reply(with(|state| {
        let is_directory = state.storage.file(address(this))?.node.is_directory();
        Err::<(), _>(if is_directory {
            Status::UNSUPPORTED
        } else {
            Status::WRITE_PROTECTED
        })
    }))
}

unsafe extern "efiapi" fn get_position(this: *const FileProtocolV1, target: *mut u64) -> RawStatus {
    let position = with(|state| {
        let file = state.storage.file(address(this))?;
        if file.node.is_directory() {
            Err(Status::UNSUPPORTED)
        } else {
            Ok(file.position)
        }
    });
    // SAFETY: the caller passes null or a valid pointer.
    reply(position.and_then(|position| unsafe { write_value(target, position) }))
}

unsafe extern "efiapi" fn set_position(this: This, position: u64) -> RawStatus {
    reply(with(|state| {
        let file = state.storage.file(address(this))?;
        if file.node.is_directory() {
            if position != 0 {
                return Err(Status::UNSUPPORTED);
            }
            file.directory_position = DirPosition::START;
        } else {
            file.position = if position == u64::MAX {
                file.node.metadata.len
            } else {
                position
            };
        }
        Ok(())
    }))
}

unsafe extern "efiapi" fn get_info(
    this: This,
    kind: *const Guid,
    size: *mut usize,
    buffer: *mut c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let kind = unsafe { guid(kind) };
    let info = kind.and_then(|kind| {
        with(|state| {
            let file = state.storage.file(address(this))?;
            let file_system = file.volume.file_system;
            match kind {
                efi_core::guids::FILE_INFO => {
                    let name = file.path.rsplit('/').next().unwrap_or("");
                    Ok(file_info(name, &file.node, file_system))
                }
                efi_core::guids::FILE_SYSTEM_INFO => Ok(file_system_info(file_system)),
                efi_core::guids::FILE_SYSTEM_VOLUME_LABEL => Ok(volume_label(file_system)),
                _ => Err(Status::UNSUPPORTED),
            }
        })
    });
    // SAFETY: the caller passes null or valid pointers.
    reply(info.and_then(|info| unsafe { fill(size, buffer.cast(), &info) }))
}

unsafe extern "efiapi" fn set_info(this: This, _: *const Guid, _: usize, _: *const c_void) -> RawStatus {
    let found = with(|state| state.storage.file(address(this)).map(drop));
    reply(found.and(Err::<(), _>(Status::WRITE_PROTECTED)))
}

/// Nothing was written.
unsafe extern "efiapi" fn flush(this: This) -> RawStatus {
    reply(with(|state| state.storage.file(address(this)).map(drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_directories() {
        let check =
            |directory: &str, name: &str, expected: &str| assert_eq!(resolve(directory, name), expected);
        check("", r"\EFI\BOOT\BOOTX64.EFI", "EFI/BOOT/BOOTX64.EFI");
        check("EFI", r"BOOT\a.efi", "EFI/BOOT/a.efi");
        check("EFI/BOOT", r"..\debian\.\grub.cfg", "EFI/debian/grub.cfg");
        check("EFI", r"\loader", "loader");
        check("EFI", "", "EFI");
        check("EFI", r"..\..\..", "");
        check("EFI", "/a//b", "a/b");
    }
}

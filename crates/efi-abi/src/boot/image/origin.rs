//! Where an image comes from.

use alloc::string::String;

use efi_core::device_path::DevicePathBuf;
use efi_core::handles::Handle;

/// Device and file path of an image.
#[derive(Default)]
pub(super) struct Origin {
    /// The device.
    pub(super) device: Option<Handle>,
    /// The path on the device.
    pub(super) file: Option<DevicePathBuf>,
    /// The whole path.
    pub(super) path: Option<DevicePathBuf>,
}

impl Origin {
    /// What users call the image.
    pub(super) fn name(&self) -> String {
        self.file
            .as_ref()
            .map_or_else(|| String::from("image"), |file| file.as_path().to_text())
    }
}

//! The file of non-volatile variables on its disk.

use disk::{BlockDevice, BlockError};
use efi_core::variables::{SlotFile, Storage};

/// The sectors of the file.
#[derive(Clone, Copy)]
pub(crate) struct FileDevice(pub(crate) &'static dyn BlockDevice);

impl FileDevice {
    /// The block at a byte offset; a file that is longer than all offsets has been cut.
    fn block(&self, offset: u64) -> u64 {
        self.0.block_size().blocks_in(offset)
    }
}

impl Storage for FileDevice {
    type Error = BlockError;

    fn len(&self) -> u64 {
        let size = self.0.block_size();
        size.offset_of(self.0.block_count()).unwrap_or(u64::MAX)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.0.read_blocks(self.block(offset), buffer)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.0.write_blocks(self.block(offset), data)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.0.flush()
    }
}

/// The file.
pub(crate) type VariableFile = SlotFile<FileDevice>;

//! What all boots have.

/// Command line of all boots.
pub(crate) const CMDLINE: &str = "console=ttyS0 one=1 \"two words\" quiet";
/// Initrd of all boots.
pub(crate) const INITRD: &[u8] = &[0x5a; 0x12345];
/// RAM of all machines in bytes.
pub(crate) const RAM: u64 = 256 << 20;

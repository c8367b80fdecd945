//! Options of the firmware on its command line.

use core::fmt;

/// Start of the names of all options of the firmware.
const PREFIX: &str = "firmware.";
/// Which entries are booted.
const BOOT: &str = "firmware.boot=";

/// What the firmware boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootMode {
    /// `bls`: entries of the Boot Loader Specification, without EFI.
    Bls,
    /// `efi`: EFI programs only.
    Efi,
    /// `auto`: entries of the Boot Loader Specification, then EFI programs.
    #[default]
    Auto,
}

impl BootMode {
    /// True if entries of the Boot Loader Specification are tried without EFI.
    #[must_use]
    pub const fn has_bls(self) -> bool {
        matches!(self, Self::Bls | Self::Auto)
    }

    /// True if EFI programs are tried.
    #[must_use]
    pub const fn has_efi(self) -> bool {
        matches!(self, Self::Efi | Self::Auto)
    }
}

/// A value of `firmware.boot=` that does not exist. The option is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode<'a>(pub &'a str);

impl fmt::Display for UnknownMode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BOOT}{}: expected bls, efi or auto", self.0)
    }
}

impl core::error::Error for UnknownMode<'_> {}

/// A command line: options of the firmware begin with `firmware.`, and the rest belongs to the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(pub &'a str);

impl<'a> Options<'a> {
    /// What is booted: the last `firmware.boot=`.
    ///
    /// # Errors
    ///
    /// [`UnknownMode`] if its value is unknown.
    pub fn boot_mode(self) -> Result<BootMode, UnknownMode<'a>> {
        let modes = self.0.split_ascii_whitespace();
        match modes.filter_map(|option| option.strip_prefix(BOOT)).next_back() {
            None | Some("auto") => Ok(BootMode::Auto),
            Some("bls") => Ok(BootMode::Bls),
            Some("efi") => Ok(BootMode::Efi),
            Some(other) => Err(UnknownMode(other)),
        }
    }

    /// The options that belong to the kernel.
    pub fn of_kernel(self) -> impl Iterator<Item = &'a str> {
        let all = self.0.split_ascii_whitespace();
        all.filter(|option| !option.starts_with(PREFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mode_counts() {
        let check = |line, expected| assert_eq!(Options(line).boot_mode(), expected, "{line}");
        check("", Ok(BootMode::Auto));
        check("quiet firmware.boot=efi", Ok(BootMode::Efi));
        check("firmware.boot=efi x=1 firmware.boot=bls", Ok(BootMode::Bls));
        check("firmware.boot=bls firmware.boot=auto", Ok(BootMode::Auto));
        check("xfirmware.boot=bls", Ok(BootMode::Auto));
        check("firmware.boot=", Err(UnknownMode("")));
        check("firmware.boot=EFI", Err(UnknownMode("EFI")));
        assert_eq!(
            UnknownMode("x").to_string(),
            "firmware.boot=x: expected bls, efi or auto"
        );
    }

    #[test]
    fn the_kernel_gets_the_other_options() {
        let line =
            Options(" a firmware.boot=efi virtio_mmio.device=512@0xfeb00000:5  firmware.x b=firmware. ");
        let kernel: Vec<_> = line.of_kernel().collect();
        assert_eq!(
            kernel,
            ["a", "virtio_mmio.device=512@0xfeb00000:5", "b=firmware."]
        );
    }

    #[test]
    fn modes_select_what_is_tried() {
        let tried = |mode: BootMode| (mode.has_bls(), mode.has_efi());
        assert_eq!(tried(BootMode::Bls), (true, false));
        assert_eq!(tried(BootMode::Efi), (false, true));
        assert_eq!(tried(BootMode::Auto), (true, true));
    }
}

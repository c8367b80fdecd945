//! Addons of unified kernel images on a volume.

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::SizedSource;
use disk::FileSystem;

use super::{Found, Scanner, WarningKind, join, sections_cost};
use crate::path::FilePath;
use crate::uki::{Addon, UkiBoot};

/// Addon and its file.
pub(super) struct FoundAddon {
    path: FilePath,
    addon: Addon,
}

impl FoundAddon {
    /// What the addon counts in the limit of text.
    fn cost(&self) -> usize {
        // Device trees for models; device tree, microcode and initrd.
        let sections = self.addon.dtbauto.len().saturating_add(3);
        let text = self.addon.cmdline.as_ref().map_or(0, String::len);
        text.saturating_add(sections_cost(&self.path, sections))
    }
}

impl Scanner<'_> {
    /// Addons of a directory for this architecture, in the order of their names.
    pub(super) fn addons(&mut self, file_system: &dyn FileSystem, directory: &str) -> Vec<FoundAddon> {
        let mut files = self.files(file_system, directory, ".addon.efi");
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut addons = Vec::new();
        for found in files {
            match self.addon(file_system, directory, &found) {
                Ok(Some(addon)) => addons.push(addon),
                Ok(None) => {}
                Err(error) => self.warn([directory, "/", &found.name].concat(), error),
            }
        }
        addons
    }

    fn addon(
        &mut self,
        file_system: &dyn FileSystem,
        directory: &str,
        found: &Found,
    ) -> Result<Option<FoundAddon>, WarningKind> {
        if self.config.is_secure_boot {
            return Err(WarningKind::UnverifiedAddon);
        }
        let path = join(directory, &found.name)?;
        let source = self.budget.open(file_system, &found.node)?;
        let addon = Addon::parse(SizedSource::new(&source)?)?;
        if addon.arch() != Some(self.config.arch) {
            return Ok(None);
        }
        let found = FoundAddon { path, addon };
        self.budget.take_text(found.cost())?;
        Ok(Some(found))
    }

    /// Adds addons to a boot, those that are for its kernel.
    pub(super) fn apply_addons<'a>(
        &mut self,
        boot: &mut UkiBoot<FilePath>,
        addons: impl Iterator<Item = &'a FoundAddon>,
    ) {
        for found in addons {
            let path = &found.path;
            // The rest would exceed the limit, too.
            if let Err(error) = self.budget.take_text(found.cost()) {
                self.warn(path.as_str(), error);
                break;
            }
            if let Err(error) = boot.add(path, &found.addon) {
                self.warn(path.as_str(), error);
            }
        }
    }
}

//! Addons of unified kernel images on a volume.

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{SizedSource, SourceRange};
use disk::FileSystem;

use super::{Found, Scanner, WarningKind, join, sections_cost};
use crate::entry::{Entry, Resource};
use crate::path::FilePath;
use crate::uki::{Addon, SectionKind, UkiProfile};

/// Addon and its file.
pub(super) struct FoundAddon {
    path: FilePath,
    addon: Addon,
}

impl FoundAddon {
    /// What the addon counts in the limit of text.
    fn cost(&self) -> usize {
        let Addon {
            ucode,
            initrd,
            dtbauto,
            ..
        } = &self.addon;
        let lists = [ucode, initrd, dtbauto];
        let lists = lists.iter().map(|list| sections_cost(&self.path, list.len()));
        let text = self.addon.cmdline.as_ref().map_or(0, String::len);
        lists.fold(
            text.saturating_add(sections_cost(&self.path, 1)),
            usize::saturating_add,
        )
    }

    fn resources<'a>(
        &'a self,
        kind: SectionKind,
        ranges: &'a [SourceRange],
    ) -> impl DoubleEndedIterator<Item = Resource> + 'a {
        ranges.iter().map(move |range| Resource::Section {
            file: self.path.clone(),
            section: kind.name(),
            range: *range,
        })
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

    /// Adds the contents of addons to an entry.
    pub(super) fn apply_addons<'a>(
        &mut self,
        entry: &mut Entry,
        profile: &UkiProfile,
        addons: impl Iterator<Item = &'a FoundAddon>,
    ) {
        let mut microcode = Vec::new();
        for found in addons {
            let addon = &found.addon;
            if !addon.fits(profile.uname.as_deref()) {
                let kind = WarningKind::OtherKernel {
                    addon: addon.uname.clone().unwrap_or_default(),
                    image: profile.uname.clone().unwrap_or_default(),
                };
                self.warn(found.path.as_str(), kind);
                continue;
            }
            if let Err(error) = self.budget.take_text(found.cost()) {
                self.warn(found.path.as_str(), error);
                break;
            }
            if let Some(cmdline) = addon.cmdline.as_deref().filter(|text| !text.is_empty()) {
                if !entry.options.is_empty() {
                    entry.options.push(' ');
                }
                entry.options.push_str(cmdline);
            }
            microcode.extend(found.resources(SectionKind::Ucode, &addon.ucode));
            entry
                .initrds
                .extend(found.resources(SectionKind::Initrd, &addon.initrd));
            if let Some(dtb) = &addon.dtb {
                let dtb = core::slice::from_ref(dtb);
                entry.overlays.extend(found.resources(SectionKind::Dtb, dtb));
            }
            let candidates = found.resources(SectionKind::Dtbauto, &addon.dtbauto);
            entry.device_tree_candidates.extend(candidates);
        }
        // Microcode of addons comes before all other archives, in reverse order.
        microcode.reverse();
        microcode.append(&mut entry.initrds);
        entry.initrds = microcode;
    }
}

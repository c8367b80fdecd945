//! Entries of type 2 on a volume.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::SizedSource;
use disk::FileSystem;

use super::addons::FoundAddon;
use super::type1::profile_cost;
use super::{Found, Scanner, WarningKind, join};
use crate::entry::{Entry, EntryKind};
use crate::name::EntryName;
use crate::path::FilePath;
use crate::type1::ProfileSelector;
use crate::uki::{Uki, UkiBoot};

const DIRECTORY: &str = "/EFI/Linux";

impl Scanner<'_> {
    /// Adds the unified kernel images of `/EFI/Linux`.
    pub(super) fn type2(&mut self, file_system: &dyn FileSystem) {
        let found = self.files(file_system, DIRECTORY, ".efi");
        if found.is_empty() {
            return;
        }
        let global = self.addons(file_system, "/loader/addons");
        for found in found {
            match self.type2_file(file_system, &found, &global) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.warn([DIRECTORY, "/", &found.name].concat(), error),
            }
        }
    }

    /// Adds the entries of a file, one for each profile. False if there are too many entries.
    fn type2_file(
        &mut self,
        file_system: &dyn FileSystem,
        found: &Found,
        global: &[FoundAddon],
    ) -> Result<bool, WarningKind> {
        let name = EntryName::parse(&found.name)?;
        let path = join(DIRECTORY, &found.name)?;
        let source = self.budget.open(file_system, &found.node)?;
        let uki = Uki::parse(SizedSource::new(&source)?)?.ok_or(WarningKind::NotUki)?;
        if uki.arch() != Some(self.config.arch) {
            return Ok(true);
        }
        let own = self.own_addons(file_system, &path, &name);
        for number in 0..uki.profile_count().max(1) {
            // Texts of a profile; the limit for each is in the parser.
            let profile = uki.profile(Some(&ProfileSelector::Number(number)));
            match profile.map_err(WarningKind::from).and_then(|profile| {
                self.budget.take_text(profile_cost(&path, &profile))?;
                Ok(profile)
            }) {
                Ok(profile) => {
                    let mut boot = UkiBoot::new(path.clone(), uki.arch(), profile);
                    self.apply_addons(&mut boot, global.iter().chain(&own));
                    if !self.add(entry(self.volume, &path, &name, boot)) {
                        return Ok(false);
                    }
                }
                // Other profiles may be usable.
                Err(error) => self.warn(path.as_str(), error),
            }
        }
        Ok(true)
    }

    /// Addons of one image: in the directory after its name with and without boot counters.
    fn own_addons(
        &mut self,
        file_system: &dyn FileSystem,
        path: &FilePath,
        name: &EntryName,
    ) -> Vec<FoundAddon> {
        let mut addons = self.addons(file_system, &format!("{path}.extra.d"));
        if name.id() != name.file_name() {
            let directory = format!("{DIRECTORY}/{}.extra.d", name.id());
            addons.append(&mut self.addons(file_system, &directory));
        }
        addons
    }
}

/// Entry of a profile.
fn entry(volume: usize, path: &FilePath, name: &EntryName, boot: UkiBoot<FilePath>) -> Entry {
    let profile = &boot.profile;
    let os_release = &profile.os_release;
    let mut id = String::from(name.id());
    let mut title = String::from(os_release.title().unwrap_or(name.id()));
    // As systemd-boot names profiles: by their identification, or by their number.
    let suffix = profile.number.filter(|number| *number > 0);
    let suffix = suffix.map(|number| profile.id.clone().unwrap_or_else(|| format!("{number}")));
    if let Some(suffix) = &suffix {
        id = format!("{id}@{suffix}");
    }
    if let Some(own) = profile.title.as_ref().or(suffix.as_ref()) {
        title = format!("{title} ({own})");
    }
    let mut entry = Entry {
        id,
        kind: EntryKind::Type2,
        volume,
        path: path.clone(),
        name: name.clone(),
        profile: None,
        title,
        version: os_release.version().map(String::from),
        machine_id: None,
        sort_key: os_release.sort_key().map(String::from),
        kernel: None,
        efi: None,
        initrds: Vec::new(),
        options: String::new(),
        device_tree: None,
        device_tree_candidates: Vec::new(),
        hwids: None,
        overlays: Vec::new(),
    };
    entry.apply_uki(boot);
    entry
}

//! Entries of type 1 on a volume.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use boot_core::SizedSource;
use disk::FileSystem;

use super::{Found, Scanner, WarningKind, join, sections_cost};
use crate::entry::{Entry, EntryKind, Resource};
use crate::name::EntryName;
use crate::note::cut;
use crate::path::FilePath;
use crate::type1::Type1;
use crate::uki::{Uki, UkiBoot, UkiProfile, UkiSection};

const DIRECTORY: &str = "/loader/entries";
const MARKER: &str = "/loader/entries.srel";

impl Scanner<'_> {
    /// Adds the entries of `/loader/entries`.
    pub(super) fn type1(&mut self, file_system: &dyn FileSystem) {
        if !self.has_entries_of_type1(file_system) {
            return;
        }
        for found in self.files(file_system, DIRECTORY, ".conf") {
            match self.type1_entry(file_system, &found) {
                Ok(Some(entry)) => {
                    if !self.add(entry) {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => self.warn([DIRECTORY, "/", &found.name].concat(), error),
            }
        }
    }

    /// Reads the marker file ("Standard-conformance Marker File"). Without it, no assumptions are made.
    fn has_entries_of_type1(&mut self, file_system: &dyn FileSystem) -> bool {
        match file_system.read_file(MARKER, 4096) {
            Ok(Some(marker)) => {
                let marker = String::from_utf8_lossy(&marker);
                let is_type1 = marker.trim_end() == "type1";
                if !is_type1 {
                    let found = cut(marker.trim_end());
                    self.warn(MARKER, WarningKind::OtherEntries { found });
                }
                is_type1
            }
            Ok(None) => true,
            Err(error) => {
                self.warn(MARKER, error);
                true
            }
        }
    }

    /// The entry of a file; `None` if it is not for this machine.
    fn type1_entry(
        &mut self,
        file_system: &dyn FileSystem,
        found: &Found,
    ) -> Result<Option<Entry>, WarningKind> {
        let name = EntryName::parse(&found.name)?;
        if name.file_name().starts_with("auto-") {
            return Err(WarningKind::ReservedName);
        }
        let path = join(DIRECTORY, &found.name)?;
        let text = self.read_text(file_system, &found.node)?;
        let mut conf = Type1::parse(&text)?;
        for note in conf.notes.drain(..) {
            self.warn(path.as_str(), note);
        }
        let architecture = conf.architecture.as_ref();
        if architecture.is_some_and(|name| name.arch() != Some(self.config.arch)) {
            return Ok(None);
        }
        if conf.linux.is_none() && conf.uki.is_none() && !self.config.has_efi {
            return Ok(None);
        }
        if conf.devicetree.is_none() && !conf.devicetree_overlays.is_empty() {
            self.warn(path.as_str(), WarningKind::OverlayWithoutTree);
            conf.devicetree_overlays.clear();
        }
        let mut entry = plain_entry(self.volume, path, name, &conf);
        if let (None, Some(uki)) = (&conf.linux, &conf.uki) {
            let Some(profile) = self.uki_profile(file_system, &conf, uki)? else {
                return Ok(None);
            };
            if self.config.is_secure_boot && profile.cmdline.is_some() && !entry.options.is_empty() {
                self.warn(entry.path.as_str(), WarningKind::UnverifiedOptions);
                entry.options.clear();
            }
            entry.apply_uki(UkiBoot::new(uki.clone(), Some(self.config.arch), profile));
        }
        Ok(Some(entry))
    }

    /// The profile of the unified kernel image that an entry selects; `None` if it is for another architecture.
    fn uki_profile(
        &mut self,
        file_system: &dyn FileSystem,
        conf: &Type1,
        path: &FilePath,
    ) -> Result<Option<UkiProfile>, WarningKind> {
        let node = file_system.lookup(path.as_str())?;
        let node = node.filter(disk::Node::is_file);
        let node = node.ok_or_else(|| WarningKind::UkiNotFound { path: path.clone() })?;
        let source = self.budget.open(file_system, &node)?;
        let uki = Uki::parse(SizedSource::new(&source)?)?.ok_or(WarningKind::NotUki)?;
        if uki.arch() != Some(self.config.arch) {
            return Ok(None);
        }
        let profile = uki.profile(conf.profile.as_ref())?;
        self.budget.take_text(profile_cost(path, &profile))?;
        Ok(Some(profile))
    }
}

/// Entry with the content of the file.
fn plain_entry(volume: usize, path: FilePath, name: EntryName, conf: &Type1) -> Entry {
    let files = |paths: &[FilePath]| paths.iter().cloned().map(Resource::File).collect::<Vec<_>>();
    Entry {
        id: String::from(name.id()),
        kind: EntryKind::Type1,
        volume,
        path,
        profile: None,
        title: conf.title.clone().unwrap_or_else(|| String::from(name.id())),
        version: conf.version.clone(),
        machine_id: conf.machine_id.clone(),
        sort_key: conf.sort_key.clone(),
        kernel: conf.linux.clone().map(Resource::File),
        efi: conf.efi.clone(),
        initrds: files(&conf.initrds),
        options: conf.options.clone(),
        device_tree: conf.devicetree.clone().map(Resource::File),
        device_tree_candidates: Vec::new(),
        hwids: None,
        overlays: files(&conf.devicetree_overlays),
        name,
    }
}

/// What a profile counts in the limit of text.
pub(super) fn profile_cost(path: &FilePath, profile: &UkiProfile) -> usize {
    let os_release = &profile.os_release;
    let texts = [
        profile.cmdline.as_deref(),
        profile.id.as_deref(),
        profile.title.as_deref(),
        os_release.title(),
        os_release.version(),
        os_release.sort_key(),
    ];
    let lens = texts.into_iter().flatten().map(str::len);
    // Trees for models; microcode and initrd.
    let lists = [profile.dtbauto.len(), 2].map(|count| sections_cost(path, count));
    lens.chain(lists)
        .fold(sections_cost(path, 1), usize::saturating_add)
}

impl Entry {
    /// Takes kernel, initrds and device trees from a unified kernel image. Initrds of the entry follow those of the image; options and a device
    /// tree of the entry replace those of the image.
    pub(super) fn apply_uki(&mut self, boot: UkiBoot<FilePath>) {
        let all = |sections: Vec<UkiSection<FilePath>>| sections.into_iter().map(Resource::from);
        self.profile = boot.profile.number;
        let own = Some(self.options.as_str()).filter(|options| !options.is_empty());
        self.options = boot.cmdline(own);
        if self.efi.is_none() {
            self.efi = Some(boot.kernel.file.clone());
        }
        self.kernel = Some(boot.kernel.into());
        let initrds = mem::take(&mut self.initrds);
        self.initrds = all(boot.initrds).chain(initrds).collect();
        if self.device_tree.is_none() {
            self.device_tree = boot.device_tree.map(Resource::from);
            self.device_tree_candidates = all(boot.device_tree_candidates).collect();
            self.hwids = boot.hwids.map(Resource::from);
        }
        self.overlays.extend(all(boot.overlays));
    }
}

impl From<UkiSection<FilePath>> for Resource {
    fn from(section: UkiSection<FilePath>) -> Self {
        Self::Section {
            file: section.file,
            section: section.kind.name(),
            range: section.range,
        }
    }
}

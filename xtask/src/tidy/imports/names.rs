//! Following a name to the file that defines it.

use std::collections::BTreeSet;
use std::path::Path;

use super::module::{Id, Import, Modules, Name, Reference};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    /// Something that this module defines.
    Item(Id),
    Module(Id),
    /// Something of another crate.
    Foreign,
}

/// The names that are being followed, each in its module: an import may lead back to itself.
type Followed = BTreeSet<(Id, String)>;

impl Modules {
    /// The files that define what a reference in the module `id` names.
    pub(super) fn files_of(&self, id: Id, reference: &Reference) -> BTreeSet<&Path> {
        let mut meanings = self.meanings(id, reference.path(), &mut Followed::new());
        if let (Reference::Macro(_), [name]) = (reference, reference.path()) {
            // A macro is in scope in the modules below, too.
            let mut outer = Some(id);
            while let (Some(id), true) = (outer, meanings.iter().all(|meaning| *meaning == Meaning::Foreign))
            {
                meanings.extend(self.lookup(id, name, id, &mut Followed::new()));
                outer = self.parent(id);
            }
        }
        let is_reexport = matches!(
            reference,
            Reference::Import {
                is_reexport: true,
                ..
            }
        );
        let owners = meanings.into_iter().filter_map(|meaning| match meaning {
            Meaning::Item(owner) => Some(owner),
            _ => None,
        });
        owners
            .filter(|owner| !(is_reexport && self.is_within(*owner, id)))
            .map(|owner| self.file(owner))
            .collect()
    }

    /// What a path means that is written in the module `id`.
    fn meanings(&self, id: Id, path: &[String], followed: &mut Followed) -> BTreeSet<Meaning> {
        let Some((first, mut rest)) = path.split_first() else {
            return BTreeSet::new();
        };
        let mut meanings = match first.as_str() {
            "crate" => BTreeSet::from([Meaning::Module(0)]),
            "self" => BTreeSet::from([Meaning::Module(id)]),
            "super" => self.parent(id).map(Meaning::Module).into_iter().collect(),
            "" => {
                rest = &[];
                BTreeSet::from([Meaning::Foreign])
            }
            name => {
                let found = self.lookup(id, name, id, followed);
                if found.is_empty() {
                    BTreeSet::from([Meaning::Foreign])
                } else {
                    found
                }
            }
        };
        for name in rest {
            meanings = self.step(&meanings, name, id, followed);
        }
        meanings
    }

    /// What `name` means below each of these.
    fn step(
        &self,
        meanings: &BTreeSet<Meaning>,
        name: &str,
        from: Id,
        followed: &mut Followed,
    ) -> BTreeSet<Meaning> {
        let has_module = meanings
            .iter()
            .any(|meaning| matches!(meaning, Meaning::Module(_)));
        let mut found = BTreeSet::new();
        for meaning in meanings {
            match meaning {
                Meaning::Module(id) if name == "super" => found.extend(self.parent(*id).map(Meaning::Module)),
                Meaning::Module(id) => {
                    let inner = self.lookup(*id, name, from, followed);
                    if inner.is_empty() {
                        found.insert(self.unknown(*id));
                    }
                    found.extend(inner);
                }
                // A function and a module may have the same name; only the module has something below.
                Meaning::Item(_) if has_module => {}
                Meaning::Item(owner) => {
                    found.insert(Meaning::Item(*owner));
                }
                Meaning::Foreign => {
                    found.insert(Meaning::Foreign);
                }
            }
        }
        found
    }

    /// Where a name of the module may come from that is not written in it: another crate, or a macro.
    fn unknown(&self, id: Id) -> Meaning {
        let globs = self.all.get(id).map_or(&[][..], |module| &module.globs);
        let is_foreign = globs.iter().any(|glob| {
            self.meanings(id, &glob.path, &mut Followed::new())
                .contains(&Meaning::Foreign)
        });
        if is_foreign {
            Meaning::Foreign
        } else {
            Meaning::Item(id)
        }
    }

    /// What `name` means in the module `id` for the module `from`. Nothing when it is not written there.
    fn lookup(&self, id: Id, name: &str, from: Id, followed: &mut Followed) -> BTreeSet<Meaning> {
        let mut found = BTreeSet::new();
        let Some(module) = self.all.get(id) else {
            return found;
        };
        let key = (id, name.to_owned());
        // `pub use parse::parse` leads from a name to itself, by way of the module of that name.
        let is_new = followed.insert(key.clone());
        let sees = |is_private: bool| !is_private || self.is_within(from, id);
        for meaning in module.names.get(name).into_iter().flatten() {
            match meaning {
                Name::Item { owner, is_private } if sees(*is_private) => {
                    found.insert(Meaning::Item(*owner));
                }
                Name::Module(child) => {
                    found.insert(Meaning::Module(*child));
                }
                Name::Import(import) if is_new && sees(import.is_private) => {
                    found.extend(self.meanings(id, &import.path, followed));
                }
                _ => {}
            }
        }
        if is_new && found.is_empty() {
            let globs = module.globs.iter().filter(|glob| sees(glob.is_private));
            for glob in globs {
                found.extend(self.lookup_in_glob(id, glob, name, followed));
            }
        }
        if is_new {
            followed.remove(&key);
        }
        found
    }

    fn lookup_in_glob(
        &self,
        id: Id,
        glob: &Import,
        name: &str,
        followed: &mut Followed,
    ) -> BTreeSet<Meaning> {
        let mut found = BTreeSet::new();
        for meaning in self.meanings(id, &glob.path, followed) {
            if let Meaning::Module(target) = meaning {
                found.extend(self.lookup(target, name, id, followed));
            }
        }
        found
    }

    fn parent(&self, id: Id) -> Option<Id> {
        self.all.get(id).and_then(|module| module.parent)
    }

    /// True when a module is the other one or below it.
    fn is_within(&self, id: Id, outer: Id) -> bool {
        let mut module = Some(id);
        while let Some(id) = module {
            if id == outer {
                return true;
            }
            module = self.parent(id);
        }
        false
    }
}

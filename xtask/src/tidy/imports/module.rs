//! The modules of a target, each with the names it defines and the names it uses.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use syn::Item;

use super::super::tree::{Tree, relative_to};
use super::items::{self, Leaf};
use super::paths::{self, CodePath};

/// The number of a module within [`Modules`].
pub(super) type Id = usize;

/// The modules of a target; the first is its root.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) all: Vec<Module>,
}

/// A module that is compiled outside of tests.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) parent: Option<Id>,
    file: PathBuf,
    pub(super) names: BTreeMap<String, Vec<Name>>,
    pub(super) globs: Vec<Import>,
    references: Vec<Reference>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// Something that this module defines.
    Item { owner: Id, is_private: bool },
    /// A module below.
    Module(Id),
    /// Something of another module.
    Import(Import),
}

/// A `use` of a path, or of everything below it.
#[derive(Clone, Debug)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    pub(super) is_private: bool,
}

/// A location that names something.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// A `use`, by itself; `is_reexport` when it is more than private.
    Import { leaf: Leaf, is_reexport: bool },
    /// A path in code.
    Code(CodePath),
    /// The name of a macro that is called.
    Macro(CodePath),
}

impl Reference {
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Import { leaf, .. } => leaf.line,
            Self::Code(found) | Self::Macro(found) => found.line,
        }
    }

    pub(super) fn path(&self) -> &[String] {
        match self {
            Self::Import { leaf, .. } => &leaf.path,
            Self::Code(found) | Self::Macro(found) => &found.path,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().join("::"))?;
        match self {
            Self::Import { leaf, .. } if leaf.is_glob => f.write_str("::*"),
            Self::Macro(_) => f.write_str("!"),
            _ => Ok(()),
        }
    }
}

/// File of a module, and the directory of its child modules.
#[derive(Clone, Debug)]
struct ModuleLocation {
    file: PathBuf,
    /// The directory of its children.
    children: PathBuf,
}

impl Modules {
    /// Reads the modules of the target whose root is this file.
    pub(super) fn read(tree: &Tree, root: &Path) -> Self {
        let mut modules = Self::default();
        if let Some(source) = tree.source(root) {
            let location = ModuleLocation {
                file: root.to_path_buf(),
                children: root.parent().unwrap_or(Path::new("")).to_path_buf(),
            };
            modules.add(tree, None, &location, &source.syntax.items);
        }
        modules
    }

    /// The file that a module is written in.
    pub(super) fn file(&self, id: Id) -> &Path {
        self.all.get(id).map_or(Path::new(""), |module| &module.file)
    }

    /// Everything that names something, with the module it stands in.
    pub(super) fn references(&self) -> impl Iterator<Item = (Id, &Reference)> {
        let modules = self.all.iter().enumerate();
        modules.flat_map(|(id, module)| module.references.iter().map(move |reference| (id, reference)))
    }

    fn add(&mut self, tree: &Tree, parent: Option<Id>, location: &ModuleLocation, items: &[Item]) -> Id {
        let id = self.all.len();
        let found = paths::paths_in(items);
        let local = found.local_imports.into_iter().map(|leaf| Reference::Import {
            leaf,
            is_reexport: false,
        });
        let code = found.paths.into_iter().map(Reference::Code);
        let macros = found.macros.into_iter().map(Reference::Macro);
        self.all.push(Module {
            parent,
            file: location.file.clone(),
            names: BTreeMap::new(),
            globs: Vec::new(),
            references: local.chain(code).chain(macros).collect(),
        });
        for item in items
            .iter()
            .filter(|item| !items::is_test(items::attributes(item)))
        {
            self.add_item(tree, id, location, item);
        }
        id
    }

    fn add_item(&mut self, tree: &Tree, id: Id, location: &ModuleLocation, item: &Item) {
        let visible = || Name::Item {
            owner: id,
            is_private: false,
        };
        match item {
            Item::Mod(item) => {
                if let Some(child) = self.add_module(tree, id, location, item) {
                    self.name(id, item.ident.to_string(), Name::Module(child));
                }
            }
            Item::Use(item) => {
                let is_private = items::is_private(&item.vis);
                for leaf in items::leaves(item) {
                    self.add_import(id, leaf, is_private);
                }
            }
            Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    let scope = if items::is_exported(&item.attrs) { 0 } else { id };
                    self.name(scope, name.to_string(), visible());
                    if scope != id {
                        self.name(id, name.to_string(), visible());
                    }
                } else {
                    let mut names = Vec::new();
                    items::names_in_macro(item.mac.tokens.clone(), &mut names);
                    for name in names {
                        self.name(id, name, visible());
                    }
                }
            }
            _ => {
                if let Some((name, is_private)) = items::defined_name(item) {
                    self.name(
                        id,
                        name,
                        Name::Item {
                            owner: id,
                            is_private,
                        },
                    );
                }
            }
        }
    }

    fn add_import(&mut self, id: Id, leaf: Leaf, is_private: bool) {
        let import = Import {
            path: leaf.path.clone(),
            is_private,
        };
        if let Some(name) = &leaf.name {
            self.name(id, name.clone(), Name::Import(import));
        } else if let (true, Some(module)) = (leaf.is_glob, self.all.get_mut(id)) {
            module.globs.push(import);
        }
        if let Some(module) = self.all.get_mut(id) {
            module.references.push(Reference::Import {
                leaf,
                is_reexport: !is_private,
            });
        }
    }

    fn add_module(
        &mut self,
        tree: &Tree,
        parent: Id,
        location: &ModuleLocation,
        item: &syn::ItemMod,
    ) -> Option<Id> {
        let name = item.ident.to_string();
        let below = location.children.join(&name);
        if let Some((_, items)) = &item.content {
            let location = ModuleLocation {
                file: location.file.clone(),
                children: below,
            };
            return Some(self.add(tree, Some(parent), &location, items));
        }
        let location = if let Some(path) = items::path_attribute(&item.attrs) {
            let directory = location.file.parent()?;
            let file = relative_to(Path::new(""), &directory.join(path));
            let children = file.parent()?.to_path_buf();
            ModuleLocation { file, children }
        } else {
            ModuleLocation {
                file: below.with_extension("rs"),
                children: below,
            }
        };
        let source = tree.source(&location.file)?;
        Some(self.add(tree, Some(parent), &location, &source.syntax.items))
    }

    fn name(&mut self, id: Id, name: String, meaning: Name) {
        if let Some(module) = self.all.get_mut(id) {
            module.names.entry(name).or_default().push(meaning);
        }
    }
}

//! Imports between modules: the paths in `use` items and expressions, resolved to the file that defines the name.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree, visit::Visit};

use super::sources;

/// The modules of the library, each by its path (`order::lane`), with its imports.
pub struct Program {
    modules: BTreeMap<String, Module>,
}

/// The paths that a file names.
#[derive(Default)]
struct Module {
    /// Name in this file → absolute path, for `use` items.
    names: BTreeMap<String, Vec<String>>,
    /// Absolute paths. Paths of re-exports are only in `names`.
    paths: BTreeSet<Vec<String>>,
}

impl Program {
    /// Parses all files below a folder.
    pub fn read(folder: &str) -> Self {
        let files: Vec<(Vec<String>, String)> = sources(folder)
            .into_iter()
            .filter(|(path, _)| !path.ends_with("main.rs"))
            .map(|(path, source)| (module_of(folder, &path), source))
            .collect();
        let known: BTreeSet<String> = files.iter().map(|(module, _)| module.join("::")).collect();
        let modules = files.into_iter().map(|(module, source)| {
            let file = syn::parse_file(&source).unwrap_or_else(|error| panic!("{module:?}: {error}"));
            let mut reader = Reader {
                module: &module,
                known: &known,
                found: Module::default(),
            };
            reader.visit_file(&file);
            (module.join("::"), reader.found)
        });
        Self {
            modules: modules.collect(),
        }
    }

    /// Pairs of modules of which the first imports from the second.
    pub fn edges(&self) -> BTreeSet<(String, String)> {
        let mut edges = BTreeSet::new();
        for (from, module) in &self.modules {
            for path in &module.paths {
                let to = self.defining(path, 0);
                if to != *from {
                    edges.insert((from.clone(), to));
                }
            }
        }
        edges
    }

    /// The module that defines what a path leads to: re-exports are followed.
    fn defining(&self, path: &[String], depth: usize) -> String {
        let length = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length].join("::")));
        let length = length.unwrap_or(0);
        let module = path[..length].join("::");
        let re_exported = path
            .get(length)
            .and_then(|name| self.modules.get(&module)?.names.get(name));
        match re_exported {
            Some(target) if depth < 8 && target != path => {
                let mut target = target.clone();
                target.extend_from_slice(&path[length + 1..]);
                self.defining(&target, depth + 1)
            }
            _ => module,
        }
    }
}

/// `src/order/lane.rs` is `order::lane`, `src/order/mod.rs` is `order`, `src/lib.rs` the empty path.
fn module_of(folder: &str, path: &str) -> Vec<String> {
    let inner = path
        .trim_start_matches(folder)
        .trim_start_matches('/')
        .trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

struct Reader<'a> {
    module: &'a [String],
    known: &'a BTreeSet<String>,
    found: Module,
}

impl Reader<'_> {
    /// The absolute path of a path in this file, if it leads into the library.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut absolute = self.module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                absolute.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    absolute.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                // A child module or an imported name.
                let child = [self.module, &[first.to_owned()]].concat().join("::");
                if !self.known.contains(&child) {
                    return None;
                }
            }
        }
        absolute.extend_from_slice(rest);
        Some(absolute)
    }

    fn add_tree(&mut self, tree: &UseTree, prefix: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident), is_public),
            UseTree::Group(group) => {
                for item in &group.items {
                    self.add_tree(item, prefix, is_public);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let last = prefix.last().cloned().unwrap_or_default();
                self.add_name(last, prefix, is_public);
            }
            UseTree::Name(name) => self.add_name(name.ident.to_string(), &with(&name.ident), is_public),
            UseTree::Rename(rename) => {
                self.add_name(rename.rename.to_string(), &with(&rename.ident), is_public);
            }
            UseTree::Glob(_) => self.add_name("*".to_owned(), prefix, is_public),
        }
    }

    fn add_name(&mut self, name: String, path: &[String], is_public: bool) {
        if let Some(path) = self.absolute(path) {
            self.found.names.insert(name, path.clone());
            if !is_public {
                self.found.paths.insert(path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            // Tests inside a file may use anything.
            Item::Mod(module) if module.content.is_some() => {}
            Item::Use(used) => {
                let is_public = !matches!(used.vis, syn::Visibility::Inherited);
                self.add_tree(&used.tree, &[], is_public);
            }
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1
            && let Some(path) = self.absolute(&segments)
        {
            self.found.paths.insert(path);
        }
        syn::visit::visit_path(self, path);
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let known = BTreeSet::from(["order::lane".to_owned(), "order::lane::child".to_owned()]);
    let module = ["order".to_owned(), "lane".to_owned()];
    let mut reader = Reader {
        module: &module,
        known: &known,
        found: Module::default(),
    };
    let source = "use crate::{money::{self, Money}, http::A as B};\nuse super::model::*;\npub use crate::db::commit;\n\
                  fn f() -> crate::store::Store { child::g(crate::audit::record()) } // crate::worker";
    reader.visit_file(&syn::parse_file(source).unwrap());
    let paths: Vec<String> = reader.found.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        [
            "audit::record",
            "http::A",
            "money",
            "money::Money",
            "order::lane::child::g",
            "order::model",
            "store::Store"
        ]
    );
}

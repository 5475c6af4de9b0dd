//! The modules of one level may not import each other in a circle: a reader can then take them one
//! after another. Reads the sources as text, of this crate and of `native/nif`, and follows `pub use`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module by the names on its path; the crate itself has none.
type Module = Vec<String>;

#[test]
fn the_modules_of_core_have_no_import_cycle() {
    assert_no_cycle("src");
}

#[test]
fn the_modules_of_nif_have_no_import_cycle() {
    assert_no_cycle("../nif/src");
}

/// The checks above mean something only where a cycle is found.
#[test]
fn a_cycle_is_found_through_a_re_export_and_in_any_level() {
    let sources = |b: &str| {
        let files = [
            (vec![], "mod a;\nmod b;\npub mod c;"),
            (vec!["a"], "pub struct A;\npub use inner::Inner;\nmod inner;\nmod other;"),
            (vec!["a", "inner"], "use super::other::Other;\npub struct Inner;"),
            (vec!["a", "other"], "pub struct Other;"),
            (vec!["b"], b),
            (vec!["c"], "use crate::{a::{A, Inner}, b::B};"),
        ];
        Sources::new(files.map(|(module, text)| {
            (module.into_iter().map(String::from).collect(), text.to_owned())
        }))
    };
    assert_eq!(sources("use crate::a::A;\npub struct B;").cycles(), [] as [String; 0]);
    // Neither a comment nor a test module in the same file counts.
    let quiet = "// crate::c::C\npub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}";
    assert_eq!(sources(quiet).cycles(), [] as [String; 0]);
    let cycles = sources("pub struct B;\nfn f() -> crate::c::C { crate::c::C }").cycles();
    assert_eq!(cycles.len(), 1);
    assert!(cycles[0].contains("b imports c") && cycles[0].contains("c imports b"), "{cycles:?}");

    let files = [
        (vec![], "mod a;"),
        (vec!["a"], "pub use two::Two;\nmod one;\nmod two;"),
        (vec!["a", "one"], "use super::Two;\npub struct One;"),
        (vec!["a", "two"], "use super::one::One;\npub struct Two;"),
    ];
    let sources =
        Sources::new(files.map(|(module, text)| {
            (module.into_iter().map(String::from).collect(), text.to_owned())
        }));
    assert_eq!(sources.cycles().len(), 1);
}

fn assert_no_cycle(directory: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let sources = Sources::read(&root);
    assert!(sources.0.len() > 5, "{} has no modules", root.display());
    let cycles = sources.cycles();
    assert!(cycles.is_empty(), "modules import each other in a circle:\n{}", cycles.join("\n"));
}

/// The text of each module, without comments and without test modules.
struct Sources(BTreeMap<Module, String>);

impl Sources {
    fn new(files: impl IntoIterator<Item = (Module, String)>) -> Self {
        let code = |(module, text): (Module, String)| (module, code(&text));
        Self(files.into_iter().map(code).collect())
    }

    fn read(root: &Path) -> Self {
        Self::new(rust_files(root).into_iter().map(|path| {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module =
                name.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if matches!(module.last().map(String::as_str), Some("lib" | "mod")) {
                module.pop();
            }
            (module, fs::read_to_string(&path).unwrap())
        }))
    }

    /// One line for each cycle: who imports whom, and by which path.
    fn cycles(&self) -> Vec<String> {
        let mut levels: BTreeMap<Module, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (module, text) in &self.0 {
            for path in imports(text) {
                let Some(target) = self.resolve(module, &path, 0) else { continue };
                let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                if let (Some(from), Some(to)) = (module.get(common), target.get(common)) {
                    let edge = (from.clone(), to.clone());
                    let reason = format!("{} in {}", path.join("::"), module.join("::"));
                    levels.entry(module[..common].to_vec()).or_default().insert(edge, reason);
                }
            }
        }
        levels.iter().filter_map(|(level, edges)| cycle(level, edges)).collect()
    }

    /// The module that has what a path names; `None` for another crate's.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (vec![], &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            name => {
                at.push(name.to_owned());
                if !self.0.contains_key(&at) {
                    return None;
                }
                rest = &path[1..];
            }
        }
        while let Some(name) = rest.first() {
            let mut child = at.clone();
            child.push(name.clone());
            if self.0.contains_key(&child) {
                (at, rest) = (child, &rest[1..]);
                continue;
            }
            // A name that the module re-exports is its source's.
            let exported =
                re_exports(self.0.get(&at)?).into_iter().find(|(known, _)| known == name);
            return match exported {
                Some((_, source)) if depth < 5 => {
                    self.resolve(&at, &source, depth + 1).or(Some(at))
                }
                _ => Some(at),
            };
        }
        Some(at)
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| {
        let is_comment = line.trim_start().starts_with("//");
        if is_comment { "" } else { line.split(" // ").next().unwrap() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths in `use` declarations, and those that begin with `crate`, `self` or `super` anywhere.
fn imports(text: &str) -> Vec<Vec<String>> {
    let used = uses(text).into_iter().map(|(_, _, path)| path);
    used.chain(inline_paths(text)).collect()
}

/// The names that a module hands on, and where it has them from.
fn re_exports(text: &str) -> Vec<(String, Vec<String>)> {
    let public = uses(text).into_iter().filter(|(public, ..)| *public);
    public.map(|(_, name, path)| (name, path)).collect()
}

/// Each `use`: whether it is public, the name that it gives, and the path.
fn uses(text: &str) -> Vec<(bool, String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit('\n').next().unwrap();
        let public = line.trim_start().starts_with("pub");
        if !public && !line.trim().is_empty() {
            continue;
        }
        let tree = text[at + 4..].split(';').next().unwrap();
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut leaves = Vec::new();
        expand(&tree, &[], &mut leaves);
        found.extend(leaves.into_iter().map(|(name, path)| (public, name, path)));
    }
    found
}

/// The leaves of a tree like `a::{b, c::{self, d as e}}`.
fn expand(tree: &str, before: &[String], leaves: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim().trim_start_matches("::");
    if let Some(inner) = tree.strip_prefix('{') {
        let inner = inner.strip_suffix('}').unwrap_or(inner);
        let (mut depth, mut start) = (0, 0);
        for (at, letter) in inner.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&inner[start..at], before, leaves);
                    start = at + 1;
                }
                _ => {}
            }
        }
        expand(&inner[start..], before, leaves);
    } else if let Some((first, rest)) = tree.split_once("::") {
        let path = [before, &[first.trim().to_owned()]].concat();
        expand(rest, &path, leaves);
    } else if !tree.is_empty() {
        let (name, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
        let mut path = before.to_vec();
        if name != "self" || before.is_empty() {
            path.push(name.to_owned());
        }
        let alias = if alias == "self" { path.last().unwrap().clone() } else { alias.to_owned() };
        leaves.push((alias, path));
    }
}

fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for keyword in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(keyword) {
            if text[..at].ends_with(|letter| is_word(letter) || letter == ':') {
                continue;
            }
            let path = text[at..].split(|letter| !is_word(letter) && letter != ':').next().unwrap();
            let parts = path.split("::").filter(|part| !part.is_empty());
            found.push(parts.map(String::from).collect());
        }
    }
    found
}

/// A cycle among the modules of one level, if there is one.
fn cycle(level: &Module, edges: &BTreeMap<(String, String), String>) -> Option<String> {
    let mut left: BTreeSet<&(String, String)> = edges.keys().collect();
    // Modules that import nothing that is left are in no cycle, and neither is an import of them.
    loop {
        let importing: BTreeSet<&String> = left.iter().map(|(from, _)| from).collect();
        let imported: BTreeSet<&String> = left.iter().map(|(_, to)| to).collect();
        let before = left.len();
        left.retain(|(from, to)| importing.contains(to) && imported.contains(from));
        if left.len() == before {
            break;
        }
    }
    let lines = left
        .into_iter()
        .map(|edge| format!("  {} imports {} ({})", edge.0, edge.1, edges.get(edge).unwrap()));
    let lines: Vec<_> = lines.collect();
    let level = [&["crate".to_owned()], level.as_slice()].concat().join("::");
    (!lines.is_empty()).then(|| format!("in {level}:\n{}", lines.join("\n")))
}

//! Each kind of error has a message in Elixir: its name is there, as an atom.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn each_kind_is_in_the_catalogue_of_messages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let catalogue: String = files(&root.join("../../lib"), "ex").into_iter().map(read).collect();
    let sources: Vec<_> = files(&root.join("src"), "rs").into_iter().map(read).collect();
    let kinds: Vec<_> = sources.iter().flat_map(|source| kinds(source)).collect();
    assert!(kinds.len() > 50, "{kinds:?}");
    for kind in [
        "unreadable",
        "plugin_no_credentials",
        "proxy_unauthorized",
        "port_forward_closed",
        "no_epmd",
    ] {
        assert!(kinds.iter().any(|known| known == kind), "{kind} in {kinds:?}");
    }
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let has_message = |kind: &&String| {
        let atom = format!(":{kind}");
        catalogue.split(&atom).skip(1).any(|after| !after.starts_with(is_word))
    };
    let missing: Vec<_> = kinds.iter().filter(|kind| !has_message(kind)).collect();
    assert!(missing.is_empty(), "without a message: {missing:?}");
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found
}

/// The kinds of a serializable error in a source file.
fn kinds(source: &str) -> Vec<String> {
    let Some((before, after)) = source.split_once("pub enum Error {\n") else { return vec![] };
    if !before.lines().rev().take(3).any(|line| line.contains("Serialize")) {
        return vec![];
    }
    let (mut kinds, mut attributes) = (Vec::new(), String::new());
    for line in after.split("\n}\n").next().unwrap().lines() {
        let Some(item) =
            line.strip_prefix("    ").filter(|item| !item.starts_with([' ', '}', '/']))
        else {
            continue;
        };
        if item.starts_with('#') {
            attributes += item;
            continue;
        }
        let variant: String = item.chars().take_while(char::is_ascii_alphanumeric).collect();
        if !attributes.contains("serde(untagged)") && !attributes.contains("serde(skip)") {
            let renamed = attributes.split("serde(rename = \"").nth(1);
            let renamed = renamed.map(|rest| rest.split('"').next().unwrap().to_owned());
            kinds.push(renamed.unwrap_or_else(|| snake_case(&variant)));
        }
        attributes.clear();
    }
    kinds
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

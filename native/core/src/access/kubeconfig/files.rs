//! The kubeconfig files: where they are, and the merge of their contents.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Error, Source,
    document::{Document, FileOrData},
};
use crate::access::{files, yaml};

/// The entries of all files, or [`Error::NotFound`].
pub(super) async fn load(source: &Source) -> Result<Document, Error> {
    let paths = candidates(source);
    let mut merged: Option<Document> = None;
    for path in &paths {
        match (load_file(path).await?, &mut merged) {
            (Some(next), None) => merged = Some(next),
            (Some(next), Some(merged)) => merged.merge(next),
            (None, _) => {}
        }
    }
    merged.ok_or(Error::NotFound { paths })
}

/// A list of empty names is a list, as for kubectl.
fn candidates(source: &Source) -> Vec<PathBuf> {
    if let Some(file) = &source.file {
        return vec![file.clone()];
    }
    match source.list.as_ref().filter(|list| !list.is_empty()) {
        Some(list) => {
            let mut listed: Vec<PathBuf> = Vec::new();
            for path in std::env::split_paths(list) {
                if !path.as_os_str().is_empty() && !listed.contains(&path) {
                    listed.push(path);
                }
            }
            listed
        }
        None => source.home.iter().map(|home| home.join(".kube/config")).collect(),
    }
}

/// The files that [`resolve`](super::resolve) reads: those of the source that exist.
pub async fn existing_files(source: &Source) -> Vec<PathBuf> {
    let paths = candidates(source);
    let existing = move || Ok(paths.into_iter().filter(|path| path.exists()).collect());
    files::blocking(existing).await.unwrap_or_default()
}

/// `None` for a file that does not exist.
async fn load_file(path: &Path) -> Result<Option<Document>, Error> {
    let contents = match files::read(path).await {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::Unreadable { path: path.into(), problem: error.to_string() });
        }
    };
    let document = yaml::parse(&contents).and_then(|root| Document::decode(&root));
    let mut document = document
        .map_err(|invalid| Error::Malformed { path: path.into(), problem: invalid.to_string() })?;
    resolve_paths(&mut document, path)?;
    Ok(Some(document))
}

/// Paths in a file are relative to its folder. So is the command of a plugin with a slash in it.
fn resolve_paths(document: &mut Document, file: &Path) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder =
        std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let folder = folder
        .map_err(|error| Error::Unreadable { path: file.into(), problem: error.to_string() })?;
    let resolve = |path: &mut String| {
        if !path.is_empty() && !Path::new(path.as_str()).is_absolute() {
            *path = clean(&folder.join(path.as_str()).to_string_lossy());
        }
    };
    for cluster in document.clusters.values_mut() {
        resolve(&mut cluster.authority.path);
    }
    for user in document.users.values_mut() {
        let paths = [&mut user.certificate.path, &mut user.key.path, &mut user.token_file];
        paths.into_iter().for_each(resolve);
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.contains('/')) {
            resolve(&mut exec.command);
        }
    }
    Ok(())
}

/// The shortest path with the same meaning where there are no symbolic links, as Go's `filepath.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}

/// The contents of an entry: the data, or the file that is named; `None` for neither.
pub(super) async fn contents(name: &str, entry: &FileOrData) -> Result<Option<Vec<u8>>, String> {
    if !entry.data.is_empty() {
        return Ok(Some(entry.data.clone()));
    }
    if entry.path.is_empty() {
        return Ok(None);
    }
    let path = &entry.path;
    match files::read(Path::new(path)).await {
        Ok(contents) => Ok(Some(contents)),
        Err(error) => Err(format!("could not read its {name} {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned() {
        let cases = [
            ("/a/./b//c", "/a/b/c"),
            ("/a/../../b", "/b"),
            ("a/../../b", "../b"),
            ("./aws", "aws"),
            ("a/..", "."),
            ("/", "/"),
        ];
        for (path, cleaned) in cases {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}

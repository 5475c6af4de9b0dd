//! The kubeconfig files: where they are, and all of them as one.

use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use super::{Error, Source};

pub(super) fn read(source: &Source) -> Result<Kubeconfig, Error> {
    let paths = candidates(source);
    let mut merged: Option<Kubeconfig> = None;
    for path in &paths {
        let Some(next) = read_file(path)? else { continue };
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|error| Error::Malformed {
                path: path.clone(),
                problem: error.to_string(),
            })?,
        });
    }
    merged.ok_or(Error::NotFound { tried: paths })
}

pub(super) fn candidates(source: &Source) -> Vec<PathBuf> {
    if let Some(file) = &source.file {
        return vec![file.clone()];
    }
    let listed: Vec<PathBuf> = source
        .list
        .iter()
        .flat_map(std::env::split_paths)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if listed.is_empty() {
        source.home.iter().map(|home| home.join(".kube/config")).collect()
    } else {
        listed
    }
}

/// The files that [`resolve`](super::resolve) reads: those of the source that exist.
#[must_use]
pub fn files(source: &Source) -> Vec<PathBuf> {
    candidates(source).into_iter().filter(|path| path.exists()).collect()
}

/// `None` for a file that does not exist.
fn read_file(path: &Path) -> Result<Option<Kubeconfig>, Error> {
    match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(error, _)) => match error.kind() {
            std::io::ErrorKind::NotFound => Ok(None),
            _ => Err(Error::Unreadable { path: path.into(), problem: error.to_string() }),
        },
        Err(KubeconfigError::Parse(error)) => {
            // Only the place: the parser's message quotes the text around it.
            let problem = match error.location() {
                Some(at) => format!("line {}, column {}", at.line(), at.column()),
                None => "not YAML".into(),
            };
            Err(Error::Malformed { path: path.into(), problem })
        }
        Err(error) => Err(Error::Malformed { path: path.into(), problem: error.to_string() }),
    }
}

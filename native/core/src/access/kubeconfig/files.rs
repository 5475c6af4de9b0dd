//! The kubeconfig files: where they are, and the merge of their contents.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{Kubeconfig, KubeconfigError};

use super::{Error, Source};
use crate::access::files;

pub(super) async fn load(source: &Source) -> Result<Kubeconfig, Error> {
    let paths = candidates(source);
    let mut merged: Option<Kubeconfig> = None;
    for path in &paths {
        let Some(next) = load_file(path).await? else { continue };
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|error| Error::Malformed {
                path: path.clone(),
                problem: error.to_string(),
            })?,
        });
    }
    merged.ok_or(Error::NotFound { paths })
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
pub async fn existing_files(source: &Source) -> Vec<PathBuf> {
    let paths = candidates(source);
    let existing = move || Ok(paths.into_iter().filter(|path| path.exists()).collect());
    files::blocking(existing).await.unwrap_or_default()
}

/// `None` for a file that does not exist.
async fn load_file(path: &Path) -> Result<Option<Kubeconfig>, Error> {
    let unreadable =
        |error: &io::Error| Error::Unreadable { path: path.into(), problem: error.to_string() };
    match parse_file(path).await {
        Ok(Ok(kubeconfig)) => Ok(Some(kubeconfig)),
        Err(error) | Ok(Err(KubeconfigError::ReadConfig(error, _))) => match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(unreadable(&error)),
        },
        Ok(Err(KubeconfigError::Parse(error))) => {
            // Only the position: the parser's message quotes the text around it.
            let problem = match error.location() {
                Some(at) => format!("line {}, column {}", at.line(), at.column()),
                None => "not YAML".into(),
            };
            Err(Error::Malformed { path: path.into(), problem })
        }
        Ok(Err(error)) => Err(Error::Malformed { path: path.into(), problem: error.to_string() }),
    }
}

/// kube's reader resolves relative paths in the file. For a FIFO or a device there is nothing that they
/// could be relative to.
async fn parse_file(path: &Path) -> io::Result<Result<Kubeconfig, KubeconfigError>> {
    let owned = path.to_owned();
    let regular = move || {
        let is_file = fs::metadata(&owned)?.is_file();
        Ok(is_file.then(|| Kubeconfig::read_from(owned)))
    };
    match files::blocking(regular).await? {
        Some(parsed) => Ok(parsed),
        None => Ok(Kubeconfig::from_yaml(&files::read_to_string(path).await?)),
    }
}

/// Reads the certificates and the key that a context names as files. Nothing else has to read them later.
///
/// # Errors
/// [`Error::InvalidCluster`] or [`Error::InvalidUser`] with the file and the cause.
pub(super) async fn inline_certificates(
    kubeconfig: &mut Kubeconfig,
    context: &str,
) -> Result<(), Error> {
    let named = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(named) = named.and_then(|named| named.context.clone()) else { return Ok(()) };
    let clusters = kubeconfig.clusters.iter_mut().filter(|known| known.name == named.cluster);
    for cluster in clusters.filter_map(|known| known.cluster.as_mut()) {
        if cluster.certificate_authority_data.is_none()
            && let Some(path) = &cluster.certificate_authority
        {
            let contents = base64_of("certificate-authority", path).await;
            let bad = |problem| Error::InvalidCluster { context: context.into(), problem };
            cluster.certificate_authority_data = Some(contents.map_err(bad)?);
        }
    }
    let bad = |problem| Error::InvalidUser { context: context.into(), problem };
    let users =
        kubeconfig.auth_infos.iter_mut().filter(|known| named.user.as_ref() == Some(&known.name));
    for user in users.filter_map(|known| known.auth_info.as_mut()) {
        if user.client_certificate_data.is_none()
            && let Some(path) = &user.client_certificate
        {
            let contents = base64_of("client-certificate", path).await;
            user.client_certificate_data = Some(contents.map_err(bad)?);
        }
        if user.client_key_data.is_none()
            && let Some(path) = &user.client_key
        {
            let contents = base64_of("client-key", path).await;
            user.client_key_data = Some(contents.map_err(bad)?.into());
        }
    }
    Ok(())
}

async fn base64_of(entry: &str, path: &str) -> Result<String, String> {
    let contents = files::read(Path::new(path)).await;
    let contents = contents.map_err(|error| format!("could not read its {entry} {path}: {error}"));
    Ok(BASE64_STANDARD.encode(contents?))
}

/// A hash of the contents of these files. `None` where one cannot be read twice, such as a FIFO.
pub(super) async fn digest(paths: Vec<PathBuf>) -> Option<u64> {
    let hash = move || {
        let mut hasher = DefaultHasher::new();
        for path in paths {
            path.hash(&mut hasher);
            match fs::metadata(&path) {
                Ok(file) if file.is_file() => fs::read(&path)?.hash(&mut hasher),
                Ok(_) => return Err(io::ErrorKind::InvalidInput.into()),
                Err(_) => {} // skipped by the reader, too
            }
        }
        Ok(hasher.finish())
    };
    files::blocking(hash).await.ok()
}

//! From kubeconfig files to one context: which server, as whom, in which namespace.
//!
//! The rules are those of `kubectl`: an explicit file wins and must exist; else the files of
//! `KUBECONFIG` are merged, first value wins, and those that do not exist are skipped; else
//! `~/.kube/config`. See <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

/// Why no cluster could be read from the kubeconfig.
#[derive(Debug, Error)]
pub enum Error {
    /// None of these files exists.
    #[error("no kubeconfig at {tried:?}")]
    NotFound {
        /// The files that were looked for, in order.
        tried: Vec<PathBuf>,
    },
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        problem: String,
    },
    /// The file is not a kubeconfig. Its text is left out on purpose: it may hold a token.
    #[error("{path} is not a kubeconfig: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the parser stopped.
        problem: String,
    },
    /// No context was asked for and the files name no current one.
    #[error("no context given and no current-context set")]
    NoContext {
        /// The contexts that are there.
        known: Vec<String>,
    },
    /// The context is in none of the files.
    #[error("no context {context}")]
    UnknownContext {
        /// The context that was asked for.
        context: String,
        /// The contexts that are there.
        known: Vec<String>,
    },
    /// The context names a cluster that is in none of the files.
    #[error("context {context} names cluster {cluster}, which is not there")]
    UnknownCluster {
        /// The context.
        context: String,
        /// The cluster it names.
        cluster: String,
    },
    /// The context names a user who is in none of the files.
    #[error("context {context} names user {user}, who is not there")]
    UnknownUser {
        /// The context.
        context: String,
        /// The user it names.
        user: String,
    },
    /// The cluster entry has no usable server, certificate authority or proxy.
    #[error("cluster of context {context}: {problem}")]
    BadCluster {
        /// The context.
        context: String,
        /// What is wrong with the entry.
        problem: String,
    },
    /// The user entry's certificate, key or token cannot be used.
    #[error("user of context {context}: {problem}")]
    BadUser {
        /// The context.
        context: String,
        /// What is wrong with the entry.
        problem: String,
    },
    /// The user logs in by a method that this version cannot do.
    #[error("user of context {context} logs in by {method}")]
    UnsupportedLogin {
        /// The context.
        context: String,
        /// The kubeconfig's word for the method.
        method: &'static str,
    },
    /// Not a name that a namespace can have.
    #[error("{namespace} is no namespace name")]
    BadNamespace {
        /// What was given.
        namespace: String,
    },
}

/// Where kubeconfig files are looked for. What comes from the environment is passed in: a NIF
/// does not see what `System.put_env/2` sets.
#[derive(Debug, Default, Clone)]
pub struct Source {
    /// The file that was asked for by name.
    pub file: Option<PathBuf>,
    /// The value of `KUBECONFIG`: a list of files.
    pub list: Option<OsString>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

/// What to take from the kubeconfig; `None` takes its own default.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// A context's name instead of `current-context`.
    pub context: Option<String>,
    /// A namespace instead of the context's.
    pub namespace: Option<String>,
}

/// Stands for all that an [`Access`] was made of: the same one leads to the same server, as the
/// same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// One context, resolved: all that is needed to talk to its API server.
#[derive(Debug, Clone)]
pub struct Access {
    /// Of the context's name and the contents of all files that were read for it.
    pub fingerprint: Option<Fingerprint>,
    /// The name of the context.
    pub context: String,
    /// The namespace to work in.
    pub namespace: String,
    /// kube's view of the same.
    pub config: kube::Config,
}

/// Reads and merges the kubeconfig files and resolves one context of them.
///
/// # Errors
/// Every variant of [`Error`]; files are read here, so this blocks for as long as the disk does.
pub async fn resolve(source: &Source, selection: Selection) -> Result<Access, Error> {
    let kubeconfig = read(source)?;
    let context = choose_context(&kubeconfig, selection.context)?;
    confirm_user(&kubeconfig, &context)?;

    let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| explain(error, &context))?;
    confirm_login(&config.auth_info, &context)?;
    let fingerprint = fingerprint(source, &context, &config);

    let namespace = selection
        .namespace
        .or_else(|| some_text(&config.default_namespace))
        .unwrap_or_else(|| "default".into());
    if !is_dns_label(&namespace) {
        return Err(Error::BadNamespace { namespace });
    }
    Ok(Access { fingerprint, context, namespace, config })
}

fn read(source: &Source) -> Result<Kubeconfig, Error> {
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

/// `None` where a file cannot be read twice: then it is like no other.
fn fingerprint(source: &Source, context: &str, config: &kube::Config) -> Option<Fingerprint> {
    let mut hasher = DefaultHasher::new();
    context.hash(&mut hasher);
    config.root_cert.hash(&mut hasher);
    let user = &config.auth_info;
    let named = [&user.client_certificate, &user.client_key, &user.token_file];
    let named = named.into_iter().flatten().map(PathBuf::from);
    for path in candidates(source).into_iter().chain(named) {
        path.hash(&mut hasher);
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() => std::fs::read(&path).ok()?.hash(&mut hasher),
            Ok(_) => return None,
            Err(_) => {} // skipped by the reader, too
        }
    }
    Some(Fingerprint(hasher.finish()))
}

fn candidates(source: &Source) -> Vec<PathBuf> {
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

/// The files that [`resolve`] reads: those of the source that exist.
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

fn choose_context(kubeconfig: &Kubeconfig, wanted: Option<String>) -> Result<String, Error> {
    let known = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
    let context = wanted
        .or_else(|| kubeconfig.current_context.as_deref().and_then(some_text))
        .ok_or_else(|| Error::NoContext { known: known() })?;
    if kubeconfig.contexts.iter().any(|named| named.name == context && named.context.is_some()) {
        Ok(context)
    } else {
        Err(Error::UnknownContext { context, known: known() })
    }
}

/// kube takes a user who is not there for an anonymous one; `kubectl` refuses, and so do we.
fn confirm_user(kubeconfig: &Kubeconfig, context: &str) -> Result<(), Error> {
    let user = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref()?.user.as_deref())
        .and_then(some_text);
    match user {
        Some(user) if kubeconfig.auth_infos.iter().all(|named| named.name != user) => {
            Err(Error::UnknownUser { context: context.into(), user })
        }
        _ => Ok(()),
    }
}

fn confirm_login(user: &AuthInfo, context: &str) -> Result<(), Error> {
    let method = match user {
        AuthInfo { exec: Some(_), .. } => "exec",
        AuthInfo { auth_provider: Some(_), .. } => "auth-provider",
        _ => return Ok(()),
    };
    Err(Error::UnsupportedLogin { context: context.into(), method })
}

/// Puts kube's own kubeconfig errors into our words.
pub(crate) fn explain(error: KubeconfigError, context: &str) -> Error {
    let context = context.to_owned();
    match error {
        KubeconfigError::LoadClusterOfContext(cluster) => {
            Error::UnknownCluster { context, cluster }
        }
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            Error::BadUser { context, problem: error.to_string() }
        }
        _ => Error::BadCluster { context, problem: error.to_string() },
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// RFC 1123 label, which is what a namespace is; anything else could lead out of the URL's path.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;

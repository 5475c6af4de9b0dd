//! Resolves one context of the kubeconfig files: the server, the user, and the namespace.
//!
//! The rules are those of `kubectl`. An explicit file wins and must exist. Otherwise the files of
//! `KUBECONFIG` are merged: the first value wins, and missing files are skipped. Without `KUBECONFIG` it is
//! `~/.kube/config`. See <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.
//!
//! `document` has what client-go makes of a file, and `config` what it makes of a context. Each file is read
//! once, here.

use std::{ffi::OsString, path::PathBuf};

use super::{environment::Environment, proxy::Proxy};

mod config;
mod document;
mod error;
mod files;
mod in_cluster;
mod plugin_policy;
mod server;
mod user;

use config::Found;
use document::Document;
pub use error::Error;
pub(crate) use files::clean;
pub use files::existing_files;
pub(crate) use in_cluster::CONTEXT as IN_CLUSTER;
pub(crate) use plugin_policy::{Forbidden, PluginPolicy};
pub(crate) use user::{Exec, InteractiveMode, LoginMethod};

/// Where to look for kubeconfig files. The environment is passed in: a NIF does not see what
/// `System.put_env/2` sets.
#[derive(Debug, Default, Clone)]
pub struct Source {
    /// An explicit file.
    pub file: Option<PathBuf>,
    /// The value of `KUBECONFIG`: a list of files.
    pub list: Option<OsString>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// The folder of a pod's service account, used without a kubeconfig.
    pub service_account: Option<PathBuf>,
    /// All variables: they configure proxies, and plugins get them.
    pub environment: Environment,
    /// Whether a plugin may use the terminal, to ask its user.
    pub interactive: bool,
}

/// What to select in the kubeconfig; `None` selects its default.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// A context's name instead of `current-context`.
    pub context: Option<String>,
    /// A namespace instead of the context's.
    pub namespace: Option<String>,
}

/// A hash of everything a [`ClientConfig`] was made of. Equal ones lead to the same server as the same
/// user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    fn of(hash: u64) -> Self {
        Self(hash)
    }
}

/// A resolved context: everything that the client for its API server needs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Of the context's name, and of all that was read for it.
    pub fingerprint: Option<Fingerprint>,
    /// The name of the context.
    pub context: String,
    /// The selected namespace.
    pub namespace: String,
    /// The server, the certificates and the impersonation, for kube. Without a proxy and a login.
    pub kube: kube::Config,
    /// The proxy to the server.
    pub proxy: Option<Proxy>,
    /// The environment for a plugin.
    pub environment: Environment,
    /// Whether a plugin may use the terminal.
    pub interactive: bool,
    pub(crate) login: LoginMethod,
    /// Whether the user has credentials, and the server no TLS to send them over.
    pub(crate) credentials_withheld: bool,
    pub(crate) plugin_policy: PluginPolicy,
}

#[cfg(test)]
impl ClientConfig {
    /// For the server at this URL, without a login, in the namespace `default`.
    pub(crate) fn of_server(url: http::Uri) -> Self {
        Self {
            fingerprint: None,
            context: "context".into(),
            namespace: "default".into(),
            kube: kube::Config::new(url),
            proxy: None,
            environment: Environment::default(),
            interactive: false,
            login: LoginMethod::None,
            credentials_withheld: false,
            plugin_policy: PluginPolicy::default(),
        }
    }
}

/// Reads and merges the kubeconfig files and resolves one context of them. Without any file, a pod's
/// service account is used, unless a file or a context was given. Each file has a time limit.
///
/// # Errors
/// Every variant of [`Error`].
pub async fn resolve(source: &Source, selection: Selection) -> Result<ClientConfig, Error> {
    let found = match find(source, selection.context.clone()).await {
        Err(error) if is_empty(&error) && source.file.is_none() && selection.context.is_none() => {
            in_cluster::find(source).await.unwrap_or(Err(error))?
        }
        found => found?,
    };
    config::client_config(source, found, selection.namespace).await
}

/// Whether there is nothing to choose from.
fn is_empty(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } => true,
        Error::NoContext { available } => available.is_empty(),
        _ => false,
    }
}

async fn find(source: &Source, requested: Option<String>) -> Result<Found, Error> {
    let document = files::load(source).await?;
    let context = choose_context(&document, requested)?;
    config::find_context(&document, context).await
}

fn choose_context(document: &Document, requested: Option<String>) -> Result<String, Error> {
    let available = || document.contexts.names();
    let context = requested
        .or_else(|| filled(&document.current_context))
        .ok_or_else(|| Error::NoContext { available: available() })?;
    if document.contexts.get(&context).is_some() {
        Ok(context)
    } else {
        Err(Error::UnknownContext { context, available: available() })
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A namespace is an RFC 1123 label. Anything else could change the path of the URL.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;

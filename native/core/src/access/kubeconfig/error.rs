use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Why the kubeconfig gives no access to a cluster.
#[derive(Debug, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// None of these files exists.
    #[error("no kubeconfig at {paths:?}")]
    NotFound {
        /// The files that were tried, in order.
        #[serde(serialize_with = "lossy_list")]
        paths: Vec<PathBuf>,
    },
    /// The file exists and cannot be read.
    #[error("cannot read {path}: {problem}")]
    Unreadable {
        /// The file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The error of the operating system.
        problem: String,
    },
    /// The file is not a kubeconfig. Its text is left out on purpose: it may hold a token.
    #[error("{path} is not a kubeconfig: {problem}")]
    Malformed {
        /// The file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The position of the syntax error.
        problem: String,
    },
    /// No context was given, and the files have no `current-context`.
    #[error("no context given and no current-context set")]
    NoContext {
        /// The contexts in the files.
        available: Vec<String>,
    },
    /// No file has the context.
    #[error("no context {context}")]
    UnknownContext {
        /// The requested context.
        context: String,
        /// The contexts in the files.
        available: Vec<String>,
    },
    /// The context names a cluster that no file has.
    #[error("context {context} names cluster {cluster}, which is not there")]
    UnknownCluster {
        /// The context.
        context: String,
        /// The cluster it names.
        cluster: String,
    },
    /// The context names a user that no file has.
    #[error("context {context} names user {user}, who is not there")]
    UnknownUser {
        /// The context.
        context: String,
        /// The user it names.
        user: String,
    },
    /// The cluster entry has no usable server, certificate authority or proxy.
    #[error("cluster of context {context}: {problem}")]
    InvalidCluster {
        /// The context.
        context: String,
        /// The cause.
        problem: String,
    },
    /// The user entry has no usable certificate, key or token.
    #[error("user of context {context}: {problem}")]
    InvalidUser {
        /// The context.
        context: String,
        /// The cause.
        problem: String,
    },
    /// An invalid namespace name.
    #[error("{namespace} is no namespace name")]
    InvalidNamespace {
        /// The given name.
        namespace: String,
    },
    /// The user entry has an auth provider that Kubernetes has removed.
    #[error("user of context {context} logs in by the auth provider {provider}")]
    UnsupportedAuthProvider {
        /// The context.
        context: String,
        /// The provider's name.
        provider: String,
        /// The exec plugin that replaces it, if there is one.
        replacement: Option<&'static str>,
    },
    /// An invalid proxy URL. It is left out on purpose: it may hold a password.
    #[error("the proxy of {from} cannot be used: {problem}")]
    InvalidProxy {
        /// The context.
        context: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// The cause.
        problem: String,
    },
    /// The kuberc has no policy for exec plugins that could be followed.
    #[error("{path} is not a kuberc: {problem}")]
    InvalidKuberc {
        /// The file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The cause.
        problem: String,
    },
    /// Inside of a pod: its service account cannot be used.
    #[error("no service account in {directory}: {problem}")]
    InvalidServiceAccount {
        /// The directory of the service account.
        #[serde(serialize_with = "lossy")]
        directory: PathBuf,
        /// The cause.
        problem: String,
    },
}

/// A path may be no UTF-8.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn lossy_list<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

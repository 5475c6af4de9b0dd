use std::path::PathBuf;

use kube::config::KubeconfigError;
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
    /// Not a name that a namespace can have.
    #[error("{namespace} is no namespace name")]
    BadNamespace {
        /// What was given.
        namespace: String,
    },
    /// The user logs in by a provider that Kubernetes itself has taken out.
    #[error("user of context {context} logs in by the auth provider {provider}")]
    OldAuthProvider {
        /// The context.
        context: String,
        /// The provider's name.
        provider: String,
        /// The exec plugin that has taken its place, as far as there is one.
        replacement: Option<&'static str>,
    },
    /// The URL of the proxy is none. It is left out on purpose: it may hold a password.
    #[error("the proxy of {from} cannot be used: {problem}")]
    BadProxy {
        /// The context.
        context: String,
        /// What has named it.
        from: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Inside of a pod, and its service account cannot be used.
    #[error("no service account in {folder}: {problem}")]
    BadServiceAccount {
        /// Where it was looked for.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Puts kube's own kubeconfig errors into our words.
pub(crate) fn explain(error: &KubeconfigError, context: &str) -> Error {
    let context = context.to_owned();
    match error {
        KubeconfigError::LoadClusterOfContext(cluster) => {
            Error::UnknownCluster { context, cluster: cluster.clone() }
        }
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            Error::BadUser { context, problem: error.to_string() }
        }
        _ => Error::BadCluster { context, problem: error.to_string() },
    }
}

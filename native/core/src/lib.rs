//! The Kubernetes side of `k8s_connect`, free of the BEAM: the way goes from a kubeconfig
//! ([`config`]) to an API server ([`cluster`]), to a pod ([`target`]) and its [`cookie`], over a
//! [`link`] to the Erlang [`node`] in it, and from there by an [`outlet`] to the BEAM; [`attach`]
//! is all of it in one call, and [`survey`] looks at it step by step.
//!
//! Nothing here reads the environment, prints, or panics: what a caller's environment says is
//! passed in, and every failure is a value.

pub mod attach;
pub mod auth;
pub mod cluster;
pub mod config;
pub mod container;
pub mod cookie;
pub mod environment;
#[cfg(target_os = "linux")]
pub mod exec;
pub mod link;
pub mod node;
pub mod outlet;
pub mod pod;
mod process;
pub mod proxy;
pub mod rediscovery;
pub mod survey;
pub mod target;
pub mod watch;

use thiserror::Error;

/// Any failure of this crate; the variant says at which step of the way it happened.
#[derive(Debug, Error)]
pub enum Error {
    /// No usable way to a cluster could be read from the kubeconfig.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The API server could not be reached, or said no.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The target does not lead to a running pod.
    #[error(transparent)]
    Target(target::Error),
    /// The pod has no such container.
    #[error("no container {container}")]
    NoContainer {
        /// The container that was asked for.
        container: String,
        /// The containers that are there.
        known: Vec<String>,
    },
    /// The cookie could not be read where the node runs.
    #[error("pod {pod}: {problem}")]
    NoCookieThere {
        /// The pod.
        pod: String,
        /// What was met.
        problem: String,
    },
    /// No Erlang node answered as one.
    #[error("pod {pod}: {error}")]
    Node {
        /// The pod.
        pod: String,
        /// The namespace it is in.
        namespace: String,
        /// What was met in it.
        error: node::Error,
    },
    /// The link was closed before what was wanted of it was done.
    #[error("the link was closed: {reason}")]
    LinkClosed {
        /// Why.
        reason: String,
    },
    /// The socket for the BEAM could not be made.
    #[error("no socket in {directory}: {problem}")]
    Outlet {
        /// Where it was to be.
        directory: String,
        /// What the operating system said.
        problem: String,
    },
    /// The program that runs a command could not be started.
    #[error("cannot run {program}: {problem}")]
    NoRunner {
        /// Where it is.
        program: String,
        /// What the operating system said.
        problem: String,
    },
    /// The ports that take the pod's place on this machine could not be opened.
    #[error("cannot listen on {address}: {problem}")]
    NoListener {
        /// Where they were to be.
        address: &'static str,
        /// What the operating system said.
        problem: String,
    },

    /// The pod's address and port are the API server's: redirected, they would lead to themselves.
    #[error("{address} is the API server's address")]
    TargetIsServer {
        /// The address and port.
        address: std::net::SocketAddr,
    },
}

impl From<target::Error> for Error {
    fn from(error: target::Error) -> Self {
        match error {
            target::Error::Cluster(error) => Self::Cluster(error),
            error => Self::Target(error),
        }
    }
}

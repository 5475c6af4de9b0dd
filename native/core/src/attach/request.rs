//! What to attach to.

use std::path::PathBuf;

use crate::{
    Error,
    access::files,
    pod::target::{self, Target},
    port_forward::tls::{self, Tls},
    streaming::Protocol,
};

/// A request to attach to a node.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// A pod, or a workload or Service that leads to one; see [`Target::parse`].
    pub target: Option<String>,
    /// A label selector, instead of a target.
    pub labels: Option<String>,
    /// The container whose environment has the cookie.
    pub container: Option<String>,
    /// The name of the node, where a pod has several. The host part is ignored.
    pub node: Option<String>,
    /// The port of the node, where no epmd knows it.
    pub port: Option<u16>,
    /// Where to look for the cookie.
    pub cookie: CookieFrom,
    /// Whether to take the node's name from the pod's spec, if it is there. That saves a round trip, and may
    /// be wrong.
    pub assume_name: bool,
    /// The protocol of the connection to the pod.
    pub protocol: Protocol,
    /// Files for a node whose distribution is over TLS.
    pub tls: Option<TlsFiles>,
    /// Whether to wait for a running pod, and for its node.
    pub wait: bool,
    /// The uid of the only pod that will do.
    pub uid: Option<String>,
    /// The kind and the name of the controller of the pod before.
    pub controller: Option<(String, String)>,
}

/// PEM files on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities of the node's certificate.
    pub authority: PathBuf,
    /// Our certificate and its key, for a node that asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    async fn read(&self) -> Result<Tls, Error> {
        let pem = async |path: &PathBuf| {
            let contents = files::read(path).await;
            contents.map_err(|error| unusable(format!("{}: {error}", path.display())))
        };
        let authority = pem(&self.authority).await?;
        let identity = match &self.identity {
            Some((certificate, key)) => Some((pem(certificate).await?, pem(key).await?)),
            None => None,
        };
        Tls::new(&tls::Files { authority, identity }).map_err(unusable)
    }
}

fn unusable(problem: String) -> Error {
    Error::UnusableTlsFiles { problem }
}

/// Where to look for the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CookieFrom {
    /// Nowhere: the caller has it.
    #[default]
    Nowhere,
    /// The sources in the pod's spec.
    Spec,
    /// The running node.
    Process,
}

impl AttachRequest {
    /// The TLS client for the node, if its files are given.
    ///
    /// # Errors
    /// [`Error::UnusableTlsFiles`]
    pub async fn tls(&self) -> Result<Option<Tls>, Error> {
        match &self.tls {
            Some(files) => files.read().await.map(Some),
            None => Ok(None),
        }
    }

    /// The target, and the target as the user typed it.
    ///
    /// # Errors
    /// [`target::Error::InvalidTarget`]
    pub fn parse_target(&self) -> Result<(Target, String), target::Error> {
        match (&self.labels, &self.target) {
            (Some(labels), _) => Ok((Target::Labels(labels.clone()), labels.clone())),
            (None, Some(target)) => Ok((Target::parse(target)?, target.clone())),
            (None, None) => Err(target::Error::InvalidTarget { target: String::new() }),
        }
    }
}

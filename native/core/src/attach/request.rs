//! What to attach to.

use crate::{
    pod::target::{self, Target},
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
    pub trust: bool,
    /// The protocol of the connection to the pod.
    pub protocol: Protocol,
    /// Whether to wait for a running pod, and for its node.
    pub wait: bool,
    /// The uid of the only pod that will do.
    pub uid: Option<String>,
    /// The kind and the name of the controller of the pod before.
    pub controller: Option<(String, String)>,
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

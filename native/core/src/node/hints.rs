//! What is known about a node before it is asked: from the pod's spec, which is read meanwhile, or from an earlier
//! connect.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::node_name::local_part;

/// How long the first request to a node waits for the spec, which mostly arrives at the same time as the
/// port-forward connection is open.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the spec of a pod says, or what an earlier connect has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The node's name, if it need not be confirmed before connecting.
    pub name: Option<String>,
    /// Possible ports, the most likely first.
    pub ports: Vec<u16>,
    /// Whether the spec says that there is no epmd.
    pub without_epmd: bool,
}

impl Hints {
    /// The name and the port, if both are known and the name is the requested one.
    pub(super) fn node(&self, requested: Option<&str>) -> Option<(String, u16)> {
        let is_requested = |name: &&String| requested.is_none_or(|part| local_part(name) == part);
        let name = self.name.as_ref().filter(is_requested)?;
        Some((name.clone(), *self.ports.first()?))
    }
}

/// Gives the hints to a discovery that may have started.
pub struct HintSender(watch::Sender<Option<Hints>>);

/// Hints that arrive when the spec was read.
#[derive(Clone)]
pub struct HintReceiver(watch::Receiver<Option<Hints>>);

/// Connects both ends.
#[must_use]
pub fn channel() -> (HintSender, HintReceiver) {
    let (sender, receiver) = watch::channel(None);
    (HintSender(sender), HintReceiver(receiver))
}

impl HintSender {
    /// Gives the hints.
    pub fn send(&self, hints: Hints) {
        self.0.send_replace(Some(hints));
    }
}

impl HintReceiver {
    /// Hints that are known already.
    #[must_use]
    pub fn known(hints: Hints) -> Self {
        Self(watch::channel(Some(hints)).1)
    }

    /// The hints, if they have arrived.
    pub(super) fn now(&self) -> Option<Hints> {
        self.0.borrow().clone()
    }

    /// Waits for the hints. There are none if the spec was not read.
    pub(super) async fn wait(&self) -> Hints {
        let mut receiver = self.0.clone();
        let hints = receiver.wait_for(Option::is_some).await.map(|hints| hints.clone());
        hints.ok().flatten().unwrap_or_default()
    }

    /// Waits for the hints, but only for a moment.
    pub(super) async fn soon(&self) -> Option<Hints> {
        timeout(PATIENCE, self.wait()).await.ok()
    }
}

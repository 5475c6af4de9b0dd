//! Reports the steps of an attach.

use std::time::Instant;

use crate::access::cluster::Cluster;

/// A finished step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Its result, for people.
    pub detail: String,
    /// Milliseconds since the beginning.
    pub ms: u64,
}

/// Notifies the caller of each finished step.
pub struct Progress {
    start: Instant,
    notify: Box<dyn Fn(Step) + Send + Sync>,
}

impl Progress {
    /// The clock starts here. `notify` must not block.
    #[must_use]
    pub fn new(notify: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { start: Instant::now(), notify: Box::new(notify) }
    }

    /// The first step: the API server is known.
    pub fn server(&self, cluster: &Cluster) {
        self.report("server", cluster.server());
    }

    pub(super) fn report(&self, name: &'static str, detail: String) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.notify)(Step { name, detail, ms });
    }
}

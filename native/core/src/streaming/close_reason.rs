//! Why a connection was closed.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by everything that closes together. The first reason counts.
#[derive(Clone)]
pub(crate) struct CloseReason(Arc<watch::Sender<Option<String>>>);

impl CloseReason {
    /// Not closed yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Closes everything that shares this.
    pub fn set(&self, reason: String) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }

    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    pub async fn wait(&self) -> String {
        let mut current = self.0.subscribe();
        match current.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => String::new(), // we hold a sender
        }
    }
}

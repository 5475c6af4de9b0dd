//! The clock of a machine that tests suspend.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Monitor;

/// The seconds for which the machine has been suspended.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn monitor(&self) -> Arc<Monitor> {
        let clock = self.clone();
        Monitor::new(move || Some(Duration::from_secs(clock.0.load(Ordering::Relaxed))))
    }

    /// tokio's clock stands still meanwhile.
    pub fn suspend(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

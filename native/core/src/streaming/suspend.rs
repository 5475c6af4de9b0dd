//! Detects that the machine was suspended. tokio's clock does not advance during a suspension, so the keepalive alone
//! would detect a connection that died meanwhile only after its full timeout.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// The interval between two readings of the clocks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The keepalive handles shorter suspensions.
const MIN_SUSPENSION: Duration = Duration::from_secs(5);

static MACHINE: LazyLock<Arc<Monitor>> = LazyLock::new(|| Monitor::new(suspended_time));

/// Changes after each suspension of the machine. Must be called on a runtime.
pub(super) fn subscribe() -> watch::Receiver<()> {
    MACHINE.subscribe()
}

/// How long the machine has been suspended since it was started; `None` where that is unknown.
#[cfg(target_os = "linux")]
fn suspended_time() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};

    let running = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let all = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Duration::from(all).checked_sub(running.into())
}

#[cfg(not(target_os = "linux"))]
fn suspended_time() -> Option<Duration> {
    None
}

/// Reports suspensions to all connections, from one task that runs as long as there is a connection.
pub(super) struct Monitor {
    suspended_time: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    suspensions: watch::Sender<()>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    pub fn new(suspended_time: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            suspended_time: Box::new(suspended_time),
            suspensions: watch::Sender::new(()),
            task: Mutex::default(),
        })
    }

    pub fn subscribe(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut task = self.lock();
        let suspensions = self.suspensions.subscribe();
        // The runtime of a task may have ended before its connections did.
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Some(before) = (self.suspended_time)()
        {
            *task = Some(tokio::spawn(self.clone().run(before)));
        }
        suspensions
    }

    async fn run(self: Arc<Self>, mut before: Duration) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.suspensions.closed() => {
                    let mut task = self.lock();
                    // A connection may have been opened just now, and relies on this task.
                    if self.suspensions.is_closed() {
                        *task = None;
                        return;
                    }
                }
                _ = ticks.tick() => {
                    let now = (self.suspended_time)().unwrap_or(before);
                    if now.saturating_sub(before) > MIN_SUSPENSION {
                        self.suspensions.send_replace(());
                    }
                    before = now;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod clock;
#[cfg(test)]
mod tests;

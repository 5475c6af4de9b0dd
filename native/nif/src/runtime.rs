//! The threads for all work. No scheduler of the BEAM ever waits for it.

use std::{io, sync::OnceLock, time::Duration};

use tokio::runtime::{Builder, Handle, Runtime};

/// How long an idle thread for blocking work is kept. Files are read once for each connect, so it would only be
/// in the way.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_millis(20);

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Starts the threads. Loading the library again, after a purge, finds them running.
pub fn start() -> io::Result<()> {
    if RUNTIME.get().is_none() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("k8s_connect")
            .thread_keep_alive(BLOCKING_KEEP_ALIVE)
            .enable_all()
            .build()?;
        // Another thread has started a runtime at the same time. Ours is not needed.
        if let Err(runtime) = RUNTIME.set(runtime) {
            runtime.shutdown_background();
        }
    }
    Ok(())
}

/// The running threads; `None` before [`start`], so never for a NIF.
pub fn handle() -> Option<&'static Handle> {
    RUNTIME.get().map(Runtime::handle)
}

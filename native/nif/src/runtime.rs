//! The threads that all work runs on; no scheduler of the BEAM ever waits for any of it.

use std::{io, sync::OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Starts the threads. Loading the library again, after a purge, finds them running.
pub fn start() -> io::Result<()> {
    if RUNTIME.get().is_none() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("k8s_connect")
            .enable_all()
            .build()?;
        // Lost the race: the other one's threads serve as well, and ours end here.
        if let Err(ours) = RUNTIME.set(runtime) {
            ours.shutdown_background();
        }
    }
    Ok(())
}

/// The running threads; `None` before [`start`], so never for a NIF.
pub fn handle() -> Option<&'static Handle> {
    RUNTIME.get().map(Runtime::handle)
}

//! A process that outlives the command still has the filter, and its `connect()` would fail with
//! ENOSYS without a supervisor. The residual process lets the kernel execute these calls. It exits
//! after the last process with the filter.

use std::os::fd::BorrowedFd;

use nix::{
    poll::PollTimeout,
    sys::signal::SigSet,
    unistd::{ForkResult, chdir, setsid},
};

use crate::{
    supervisor::{CallState, poll_calls},
    sys::{self, Answer},
};

/// Starts the residual process. A failed fork is ignored, because there is no fallback.
pub fn start(listener: BorrowedFd) {
    // Other threads may be connecting, so the child may only make system calls.
    if let Ok(ForkResult::Child) = sys::fork() {
        serve(sys::keep_only(listener));
        sys::exit_now();
    }
}

/// Runs as a daemon: without a terminal and without a working directory. SIGTERM ends it.
fn serve(listener: BorrowedFd) {
    let _ = setsid();
    let _ = chdir("/");
    let _ = SigSet::empty().thread_set_mask();
    loop {
        match poll_calls(listener, PollTimeout::NONE) {
            CallState::Pending => {
                if let Ok(call) = sys::receive(listener) {
                    let _ = sys::respond(listener, call.id, Answer::Continue);
                }
            }
            CallState::Idle => {}
            CallState::Closed => return,
        }
    }
}

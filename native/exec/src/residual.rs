//! A process that outlives the command is still under the filter, and without an answer its
//! `connect()` would fail with ENOSYS. This process lets the kernel execute each of them, and ends
//! with the last process under the filter.

use std::os::fd::BorrowedFd;

use nix::{
    poll::PollTimeout,
    sys::signal::SigSet,
    unistd::{ForkResult, chdir, setsid},
};

use crate::{
    supervisor::{Calls, calls},
    sys::{self, Answer},
};

/// Starts it. Where the kernel refuses, nothing can be done.
pub fn start(listener: BorrowedFd) {
    // A connection may be under way on a thread: the child makes system calls only.
    if let Ok(ForkResult::Child) = sys::divide() {
        serve(sys::keep_only(listener));
        sys::exit_at_once();
    }
}

/// It has no terminal, keeps no folder in use, and whatever ends services ends it, too.
fn serve(listener: BorrowedFd) {
    let _ = setsid();
    let _ = chdir("/");
    let _ = SigSet::empty().thread_set_mask();
    loop {
        match calls(listener, PollTimeout::NONE) {
            Calls::Waiting => {
                if let Ok(call) = sys::receive(listener) {
                    let _ = sys::respond(listener, call.id, Answer::Continue);
                }
            }
            Calls::NoneNow => {}
            Calls::NoMore => return,
        }
    }
}

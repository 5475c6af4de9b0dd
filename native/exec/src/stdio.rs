//! The standard descriptors of the command. The BEAM makes its own descriptors non-blocking, which
//! programs do not expect. The flag belongs to the open file description, which the BEAM and the
//! command share.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::{SFlag, fstat},
    unistd::{dup2_stderr, dup2_stdin, dup2_stdout, isatty},
};

/// Makes all three blocking, without changing those of the BEAM.
pub fn prepare() {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    // A descriptor that cannot be reopened is kept.
    if let Some(own) = reopen(input.as_fd(), 0) {
        let _ = dup2_stdin(own);
    }
    if let Some(own) = reopen(output.as_fd(), 1) {
        let _ = dup2_stdout(own);
    }
    if let Some(own) = reopen(error.as_fd(), 2) {
        let _ = dup2_stderr(own);
    }
}

fn reopen(descriptor: BorrowedFd, number: u8) -> Option<OwnedFd> {
    let flags = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).ok()?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        return None;
    }
    let path = format!("/proc/self/fd/{number}");
    let kind = SFlag::from_bits_truncate(fstat(descriptor).ok()?.st_mode) & SFlag::S_IFMT;
    let opened = if isatty(descriptor).unwrap_or(false) {
        // After `su`, the terminal may belong to another user and cannot be opened by name.
        open(&path, flags).or_else(|_| open("/dev/tty", flags))
    } else if kind == SFlag::S_IFIFO {
        // Without O_NONBLOCK, open would wait for the other end of the pipe, which may be closed.
        open(&path, flags | OFlag::O_NONBLOCK)
    } else {
        // A reopened file would lose its position, and a socket cannot be reopened.
        Err(io::ErrorKind::Unsupported.into())
    };
    let Ok(file) = opened else {
        set_blocking(descriptor, flags);
        return None;
    };
    set_blocking(file.as_fd(), flags);
    Some(file.into())
}

fn open(path: &str, flags: OFlag) -> io::Result<File> {
    let access = flags & OFlag::O_ACCMODE;
    let others = (flags & OFlag::O_NONBLOCK) | OFlag::O_NOCTTY;
    File::options()
        .read(access != OFlag::O_WRONLY)
        .write(access != OFlag::O_RDONLY)
        .custom_flags(others.bits())
        .open(path)
}

fn set_blocking(descriptor: BorrowedFd, flags: OFlag) {
    let _ = fcntl(descriptor, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK));
}

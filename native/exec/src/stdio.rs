//! The command's standard descriptors. The BEAM has made its own non-blocking, which no program
//! expects, and the flag belongs to the open file that all who share it have.

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

/// Makes all three blocking, without touching what the BEAM has.
pub fn prepare() {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    // What cannot be opened again stays as it is.
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
        // A terminal that was somebody else's before `su` cannot be opened by its own name.
        open(&path, flags).or_else(|_| open("/dev/tty", flags))
    } else if kind == SFlag::S_IFIFO {
        // Opened blocking it would wait for the other end, which may be gone.
        open(&path, flags | OFlag::O_NONBLOCK)
    } else {
        // A file would lose its position, a socket has no second open file.
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

//! Starts programs from inside of a BEAM, with `posix_spawn`: it closes descriptors and leaves the terminal
//! without code of ours between fork and exec.

use std::{
    ffi::CString,
    io::{self, PipeWriter},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::signal::SigSet,
    unistd::{Pid, dup2_stdin},
};

/// Descriptors that other threads may open between our check and the spawn.
#[cfg(not(target_os = "macos"))]
const HEADROOM: RawFd = 64;

/// Held by the program that uses the terminal.
pub(crate) static TERMINAL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The BEAM reads from the terminal all the time, and would take a part of what the user types for another
/// program. As long as this exists, the BEAM's standard input is an empty pipe.
pub(crate) struct WithheldTerminal {
    terminal: OwnedFd,
    /// While it is open, reading the other end does not report the end of the file.
    _empty: PipeWriter,
}

impl WithheldTerminal {
    pub fn new() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let (nothing, empty) = io::pipe()?;
        fcntl(&nothing, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        dup2_stdin(&nothing)?;
        Ok(Self { terminal, _empty: empty })
    }

    /// `None` where standard input is not a terminal.
    #[cfg(target_os = "linux")]
    pub fn if_any() -> io::Result<Option<Self>> {
        use std::io::IsTerminal;
        io::stdin().is_terminal().then(Self::new).transpose()
    }

    /// The terminal that was standard input.
    #[cfg(target_os = "linux")]
    pub fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

impl Drop for WithheldTerminal {
    fn drop(&mut self) {
        let _ = dup2_stdin(&self.terminal);
    }
}

/// A program to start.
pub(crate) struct Spawn<'a> {
    pub program: &'a str,
    pub arguments: Vec<&'a str>,
    pub environment: &'a [(String, String)],
    /// From 0 on. The program gets no others.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Whether it has its own session, without a terminal. Otherwise it is in our process group.
    pub own_session: bool,
    /// Signals that the program does not inherit as ignored.
    pub default_actions: SigSet,
}

impl Spawn<'_> {
    pub fn start(&self) -> io::Result<Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        let mut next = 0;
        for descriptor in self.descriptors {
            actions.add_dup2(descriptor.as_raw_fd(), next)?;
            next += 1;
        }
        close_others(&mut actions, next)?;
        let mut attributes = PosixSpawnAttr::init()?;
        let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | CLOSE_OTHERS;
        if self.own_session {
            flags |= own_session();
        }
        attributes.set_flags(flags)?;
        attributes.set_pgroup(Pid::from_raw(0))?;
        attributes.set_sigdefault(&self.default_actions)?;
        attributes.set_sigmask(&SigSet::empty())?;
        let arguments = std::iter::once(self.program).chain(self.arguments.iter().copied());
        let arguments = strings(arguments.map(String::from))?;
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let environment = strings(environment)?;
        Ok(posix_spawn(self.program, &actions, &attributes, &arguments, &environment)?)
    }
}

/// Its own session: a process group, to be killed as a whole, and no terminal. `nix` has no name for
/// the flag.
#[cfg(target_os = "linux")]
fn own_session() -> PosixSpawnFlags {
    PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into())
}

/// The same flag since macOS 10.15 (`POSIX_SPAWN_SETSID` in its `spawn.h`).
#[cfg(target_os = "macos")]
fn own_session() -> PosixSpawnFlags {
    PosixSpawnFlags::from_bits_retain(0x0400)
}

/// macOS closes all descriptors without an action (`POSIX_SPAWN_CLOEXEC_DEFAULT` in its `spawn.h`). Closing a closed
/// descriptor is an error there.
#[cfg(target_os = "macos")]
const CLOSE_OTHERS: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x4000);
#[cfg(not(target_os = "macos"))]
const CLOSE_OTHERS: PosixSpawnFlags = PosixSpawnFlags::empty();

#[cfg(target_os = "macos")]
fn close_others(_actions: &mut PosixSpawnFileActions, _next: RawFd) -> io::Result<()> {
    Ok(())
}

/// The pipes of the BEAM's ports are not close-on-exec. Closing a closed descriptor is no error here.
#[cfg(not(target_os = "macos"))]
fn close_others(actions: &mut PosixSpawnFileActions, next: RawFd) -> io::Result<()> {
    for descriptor in next..=(highest()? + HEADROOM).min(last()?) {
        actions.add_close(descriptor)?;
    }
    Ok(())
}

fn strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| CString::new(text).map_err(io::Error::from)).collect()
}

/// The last possible descriptor, and so the last that an action may name.
#[cfg(not(target_os = "macos"))]
fn last() -> io::Result<RawFd> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(RawFd::try_from(soft).unwrap_or(RawFd::MAX) - 1)
}

/// The highest open descriptor.
#[cfg(not(target_os = "macos"))]
fn highest() -> io::Result<RawFd> {
    let names = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).max().unwrap_or(2))
}

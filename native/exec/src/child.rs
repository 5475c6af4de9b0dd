//! The child process: installs the seccomp filter, checks with a trial connection that connections
//! are redirected, and executes the command. It reports each step to the parent on a socket.

use std::{
    convert::Infallible,
    ffi::{CStr, CString, OsStr},
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
            recvmsg, sendmsg, socketpair,
        },
    },
    unistd::{Pid, execvp, getppid},
};

use crate::{filter, report::Failure, sys};

/// The trial connection is local, so it is established at once.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_MESSAGE: usize = 512;
/// First byte of a message with the seccomp listener; the second byte says whether calls restart.
const LISTENER: u8 = b'L';
const REDIRECTED: u8 = b'T';
const FAILED: u8 = b'F';

/// A message from the child.
pub enum Message {
    /// The filter is installed. The flag says whether a signal restarts calls (before Linux 5.19).
    Listener(OwnedFd, bool),
    /// The trial connection was redirected.
    Redirected,
    /// The command was not executed; the child exits.
    Failed(Failure, String),
    /// The command was executed, or the child was killed.
    Closed,
}

/// Creates the socket pair of parent and child.
pub fn channel() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Receives a message from the child.
pub fn receive(channel: &OwnedFd) -> io::Result<Message> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(channel.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    let length = message.bytes;
    let descriptor = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _other => None,
    });
    match (bytes[..length].split_first(), descriptor) {
        (Some((&LISTENER, restarts)), Some(descriptor)) => {
            Ok(Message::Listener(sys::received(descriptor), restarts == [1]))
        }
        (Some((&REDIRECTED, _)), _) => Ok(Message::Redirected),
        (Some((&FAILED, text)), _) => {
            let text = String::from_utf8_lossy(text);
            let (word, problem) = text.split_once(' ').unwrap_or((&text, ""));
            let failure = Failure::from_word(word).unwrap_or(Failure::System);
            Ok(Message::Failed(failure, problem.into()))
        }
        _nothing => Ok(Message::Closed),
    }
}

/// Executes the command, or reports the failure. A connection to `trial` must reach `listener`.
pub fn run(
    parent: Pid,
    channel: &OwnedFd,
    command: &[CString],
    trial: SocketAddr,
    listener_address: SocketAddr,
) {
    let result = || -> Result<Infallible, (Failure, String)> {
        die_with_parent(parent).map_err(system("prctl"))?;
        let (listener, restarts) = install()?;
        send(channel, &[LISTENER, restarts.into()], Some(&listener)).map_err(system("sendmsg"))?;
        connect(trial, listener_address)?;
        send(channel, &[REDIRECTED], None).map_err(system("sendmsg"))?;
        execute(command)
    };
    let Err((failure, problem)) = result();
    let text: Vec<u8> = format!("{} {problem}", failure.word()).into_bytes();
    let text = &text[..text.len().min(MAX_MESSAGE - 1)];
    let _ = send(channel, &[&[FAILED], text].concat(), None);
}

/// Lets the kernel kill this process when the parent ends: without the parent, `connect()` fails.
fn die_with_parent(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before `prctl`.
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

fn install() -> Result<(OwnedFd, bool), (Failure, String)> {
    let no_seccomp = |problem: String| (Failure::NoSeccomp, problem);
    // Required for a filter without privileges. It also disables setuid for the command.
    prctl::set_no_new_privs().map_err(system("no_new_privs"))?;
    let mut program = filter::program()
        .ok_or_else(|| no_seccomp(format!("{} is not supported", std::env::consts::ARCH)))?;
    // Before Linux 5.16, a filter enables Spectre mitigations that slow the command down.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let killable = sys::install(&mut program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    let (listener, restarts) = match killable {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (sys::install(&mut program, flags), true)
        }
        other => (other, false),
    };
    match listener {
        Ok(listener) => Ok((listener, restarts)),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            Err((Failure::Nested, error.to_string()))
        }
        Err(error) => Err(no_seccomp(error.to_string())),
    }
}

/// Makes a trial connection, so that a failure is reported before the command starts.
fn connect(trial: SocketAddr, listener_address: SocketAddr) -> Result<(), (Failure, String)> {
    let peer =
        TcpStream::connect_timeout(&trial, TRIAL_TIMEOUT).and_then(|stream| stream.peer_addr());
    match peer {
        Ok(peer) if peer == listener_address => Ok(()),
        Ok(peer) => Err((Failure::NotRedirected, format!("{trial} led to {peer}"))),
        Err(error) => Err((Failure::NotRedirected, error.to_string())),
    }
}

fn execute(command: &[CString]) -> Result<Infallible, (Failure, String)> {
    sys::restore_sigpipe().map_err(system("signal"))?;
    SigSet::empty().thread_set_mask().map_err(system("sigprocmask"))?;
    let name = command.first().ok_or((Failure::NotFound, "no command".into()))?;
    execvp(name, command).map_err(|error| match error {
        Errno::ENOENT | Errno::ENOTDIR => not_found(),
        // A directory in PATH may not be searchable, and the command in no other directory.
        Errno::EACCES if !exists(name) => not_found(),
        other => (Failure::NotExecutable, other.desc().into()),
    })
}

fn not_found() -> (Failure, String) {
    (Failure::NotFound, Errno::ENOENT.desc().into())
}

fn exists(name: &CStr) -> bool {
    let name = Path::new(OsStr::from_bytes(name.to_bytes()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.components().count() > 1
        || std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

fn send(channel: &OwnedFd, bytes: &[u8], descriptor: Option<&OwnedFd>) -> nix::Result<()> {
    let descriptor = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let rights = descriptor.as_ref().map(|descriptor| ControlMessage::ScmRights(descriptor));
    let parts: Vec<_> = rights.into_iter().collect();
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(channel.as_raw_fd(), &[IoSlice::new(bytes)], &parts, flags, None).map(drop)
}

fn system(step: &str) -> impl Fn(Errno) -> (Failure, String) {
    move |error| (Failure::System, format!("{step}: {}", error.desc()))
}

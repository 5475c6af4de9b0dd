//! The protocol between `k8s_connect` and its helper: JSON frames, each with a four-byte big-endian
//! length prefix.
//!
//! The helper sends the first frame: [`Answer::Ready`] once it has attached its programs and
//! dropped all privileges, or [`Answer::Refused`], and then it exits. It reads its input only after
//! that. The first request is [`Request::Hello`]. Each later request gets one [`Answer`] with its
//! ID.
//!
//! The helper may be older or newer than the library, because an admin installs it. Both are
//! compatible if they have the same [`MAJOR`]. A newer minor version may add requests, and fields
//! to answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The major version. Different major versions are incompatible.
pub const MAJOR: u16 = 2;
/// The minor version, incremented by compatible additions.
pub const MINOR: u16 = 0;
/// The maximum frame size without the prefix: enough for [`MAX_REDIRECTS`] of the longest
/// addresses.
pub const MAX_FRAME: usize = 128 * 1024;
/// The maximum number of redirects, which is the size of the BPF map.
pub const MAX_REDIRECTS: usize = 1024;
/// The maximum number of helpers per user. The kernel's limit is 64 programs per hook.
pub const MAX_HELPERS: u32 = 8;
/// The lowest port that can be redirected, and the lowest port of a listener.
pub const MIN_PORT: u16 = 1024;

/// A message from the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first request. It has no answer unless it is refused.
    Hello {
        /// [`MAJOR`] of the library.
        major: u16,
        /// [`MINOR`] of the library.
        minor: u16,
        /// The PID of the BEAM. The helper exits when this process ends.
        pid: u32,
    },
    /// Replaces all redirects.
    Apply {
        /// The ID of the request.
        id: u64,
        /// The new redirects.
        redirects: Vec<Redirect>,
    },
    /// Requests the current redirects.
    Status {
        /// The ID of the request.
        id: u64,
    },
    /// Stops the helper.
    Stop {
        /// The ID of the request.
        id: u64,
    },
}

/// Redirects connections to an address to a local listener of the same address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The pod's address.
    pub to: SocketAddr,
    /// The port of the listener on `127.0.0.1` or `::1`.
    pub via: u16,
}

/// A message from the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The first frame of the helper.
    Ready {
        /// [`MAJOR`] of the helper.
        major: u16,
        /// [`MINOR`] of the helper.
        minor: u16,
        /// The version of the helper.
        version: String,
        /// The user whose connections can be redirected.
        uid: u32,
        /// The primary group of the user. Programs with another group are not redirected.
        gid: u32,
    },
    /// The redirects were replaced.
    Applied {
        /// The ID of the request.
        id: u64,
        /// The number of redirects.
        redirects: usize,
    },
    /// The answer to [`Request::Status`].
    Status {
        /// The ID of the request.
        id: u64,
        /// The current redirects.
        redirects: Vec<Redirect>,
    },
    /// The answer to [`Request::Stop`]. The helper exits.
    Stopped {
        /// The ID of the request.
        id: u64,
    },
    /// The request was refused. Nothing has changed.
    Refused {
        /// The ID of the request; `None` if it could not be parsed.
        id: Option<u64>,
        /// The reason.
        refusal: Refusal,
    },
}

/// Why the helper refuses to start, or refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    // Refusals to start
    /// The executable is setuid or setgid.
    SetUid,
    /// The helper runs as root without the variables of sudo.
    NoCaller,
    /// The helper lacks capabilities.
    NoCapability {
        /// The reason.
        cause: Missing,
    },
    /// `no_new_privs` is set in the BEAM, so file capabilities have no effect.
    NoNewPrivs,
    /// The executable is on a file system mounted with `nosuid`.
    Nosuid,
    /// No cgroup v2 at `/sys/fs/cgroup` or `/sys/fs/cgroup/unified`.
    NoCgroup2,
    /// The helper is not in the slice of its user.
    NoUserSlice {
        /// The cgroup of the helper.
        cgroup: String,
        /// The user.
        uid: u32,
    },
    /// The kernel has no type information (BTF), or a type or member is missing.
    NoBtf {
        /// The missing file, type or member.
        name: String,
    },
    /// The kernel rejected the programs or the map.
    NoBpf {
        /// The operation.
        step: String,
        /// The error.
        problem: String,
    },
    /// A program attached to this or a parent cgroup allows no other programs.
    ExclusiveProgram {
        /// The cgroup.
        cgroup: String,
    },
    /// Attaching would disable a program that is attached to a parent cgroup.
    OverrideProgram {
        /// The parent cgroup.
        cgroup: String,
    },
    /// The user's slice already has [`MAX_HELPERS`] programs.
    TooMany {
        /// The limit.
        limit: u32,
    },
    /// The self-test failed: the programs were loaded but do not work.
    SelfTestFailed {
        /// The test that failed.
        test: String,
    },

    // Refusals of a request
    /// The frame is not a valid request.
    Malformed {
        /// The message of the parser.
        problem: String,
    },
    /// The frame is longer than [`MAX_FRAME`].
    TooLong {
        /// The length in the prefix.
        length: u32,
    },
    /// The frame is empty.
    Empty,
    /// The library has another major version.
    WrongVersion {
        /// [`MAJOR`] of the helper.
        major: u16,
        /// [`MINOR`] of the helper.
        minor: u16,
    },
    /// The first request is not a hello.
    NoHello,
    /// A second hello.
    SecondHello,
    /// There is no process with the PID in the hello.
    NoSuchProcess {
        /// The PID.
        pid: u32,
    },
    /// More than [`MAX_REDIRECTS`].
    TooManyRedirects {
        /// The number of redirects in the request.
        count: usize,
    },
    /// A destination that cannot be a pod.
    BadDestination {
        /// The destination.
        to: SocketAddr,
        /// The kind of address.
        cause: Destination,
    },
    /// A port below [`MIN_PORT`].
    LowPort {
        /// The destination.
        to: SocketAddr,
        /// The port.
        port: u16,
    },
    /// A duplicate destination.
    DuplicateRedirect {
        /// The destination.
        to: SocketAddr,
    },
    /// Nothing listens on the port.
    NoListener {
        /// The port.
        via: u16,
    },
    /// Another user listens on the port.
    ForeignListener {
        /// The port.
        via: u16,
        /// The owner of the listener.
        uid: u32,
    },

    /// A system call failed.
    Kernel {
        /// The operation.
        step: String,
        /// The error.
        problem: String,
    },
}

/// Why the helper lacks capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The executable does not have all file capabilities.
    FileCapabilities,
    /// The bounding set lacks a capability, as in most containers.
    BoundingSet,
    /// The helper runs in a user namespace.
    UserNamespace,
    /// Another reason.
    Unknown,
}

/// A kind of address that cannot be a pod's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// An address of this machine.
    Local,
    /// 127.0.0.0/8 or `::1`.
    Loopback,
    /// 0.0.0.0/8 or `::`.
    Unspecified,
    /// Multicast.
    Multicast,
    /// Broadcast.
    Broadcast,
    /// Link-local.
    LinkLocal,
    /// 240.0.0.0/4.
    Reserved,
    /// IPv4-mapped or IPv4-compatible.
    Mapped,
}

/// Parses the length prefix.
///
/// # Errors
/// [`Refusal::TooLong`], [`Refusal::Empty`]
pub fn frame_length(header: [u8; 4]) -> Result<usize, Refusal> {
    let length = u32::from_be_bytes(header);
    match usize::try_from(length) {
        Ok(0) => Err(Refusal::Empty),
        Ok(fits) if fits <= MAX_FRAME => Ok(fits),
        _ => Err(Refusal::TooLong { length }),
    }
}

/// Parses a request.
///
/// # Errors
/// [`Refusal::Malformed`]
pub fn request(frame: &[u8]) -> Result<Request, Refusal> {
    serde_json::from_slice(frame).map_err(|error| {
        // Truncated, because the parser quotes its input.
        Refusal::Malformed { problem: error.to_string().chars().take(200).collect() }
    })
}

/// Parses an answer.
///
/// # Errors
/// The message of the parser.
pub fn answer(frame: &[u8]) -> Result<Answer, String> {
    serde_json::from_slice(frame).map_err(|error| error.to_string())
}

/// Serializes a request or an answer, without the length prefix.
///
/// # Panics
/// Never: JSON can represent all values of these types.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests;

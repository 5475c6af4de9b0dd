//! The protocol between `k8s_connect` and its helper: JSON in frames that begin with their length in
//! four bytes, big-endian.
//!
//! The helper speaks first: [`Answer::Ready`] once it has attached its programs and given up every
//! privilege, or [`Answer::Refused`], and then it exits. Only after that it reads its input, which
//! begins with [`Request::Hello`]. Each later request gets one [`Answer`] with the request's id.
//!
//! An admin installs the helper and anybody upgrades the library, so the two differ in age: the same
//! [`MAJOR`] understands each other. A newer minor version may add requests and fields of answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Helper and library of different major versions do not work together.
pub const MAJOR: u16 = 2;
/// Counts additions.
pub const MINOR: u16 = 0;
/// The longest frame, without its length: room for [`MAX_REDIRECTS`] of the longest addresses.
pub const MAX_FRAME: usize = 128 * 1024;
/// The most redirects at once, which is the size of the helper's BPF map.
pub const MAX_REDIRECTS: usize = 1024;
/// The most programs of each kind on one user's slice. The kernel's own limit is 64.
pub const MAX_HELPERS: u32 = 8;
/// The lowest port that may be redirected, or redirected to.
pub const MIN_PORT: u16 = 1024;

/// From the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first frame. It is answered only if it is refused.
    Hello {
        /// The library's [`MAJOR`].
        major: u16,
        /// The library's [`MINOR`].
        minor: u16,
        /// The process id of the BEAM: the helper ends when that process ends.
        pid: u32,
    },
    /// Replaces the whole set of redirects.
    Apply {
        /// Repeated in the answer.
        id: u64,
        /// The whole set.
        redirects: Vec<Redirect>,
    },
    /// Asks for the redirects.
    Status {
        /// Repeated in the answer.
        id: u64,
    },
    /// Ends the helper.
    Stop {
        /// Repeated in the answer.
        id: u64,
    },
}

/// Connections to an address are made to a listener on the loopback address of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The address that a program connects to.
    pub to: SocketAddr,
    /// The listener's port on `127.0.0.1` or `::1`.
    pub via: u16,
}

/// From the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The helper's first frame.
    Ready {
        /// The helper's [`MAJOR`].
        major: u16,
        /// The helper's [`MINOR`].
        minor: u16,
        /// The helper's version.
        version: String,
        /// The user whose connections can be redirected.
        uid: u32,
        /// That user's group: programs that run with another one are not redirected.
        gid: u32,
    },
    /// The redirects are what the request asked for.
    Applied {
        /// The request's.
        id: u64,
        /// How many there are.
        redirects: usize,
    },
    /// To [`Request::Status`].
    Status {
        /// The request's.
        id: u64,
        /// The current redirects.
        redirects: Vec<Redirect>,
    },
    /// To [`Request::Stop`]; the helper exits.
    Stopped {
        /// The request's.
        id: u64,
    },
    /// Nothing has changed.
    Refused {
        /// The request's, if there was one that could be read.
        id: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
}

/// Why the helper refuses to start, or refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    // At the start
    /// The helper's file is setuid or setgid.
    SetUid,
    /// The helper runs as root, and `sudo` has not said for which user.
    NoCaller,
    /// The helper has not got its capabilities.
    NoCapability {
        /// What keeps them from it.
        why: Missing,
    },
    /// `no_new_privs` is set for the BEAM and so for all it starts; file capabilities have no effect.
    NoNewPrivs,
    /// The helper's file is on a file system that is mounted `nosuid`.
    Nosuid,
    /// No cgroup2 file system at `/sys/fs/cgroup` or `/sys/fs/cgroup/unified`.
    NoCgroup2,
    /// The helper does not run in its user's slice.
    NoUserSlice {
        /// The cgroup in which it runs.
        cgroup: String,
        /// The user.
        uid: u32,
    },
    /// The kernel has no type information (BTF), or not what the programs need of it.
    NoBtf {
        /// What is missing.
        name: String,
    },
    /// The kernel did not load the programs or the map.
    NoBpf {
        /// What was asked of it.
        step: String,
        /// Its answer.
        problem: String,
    },
    /// A program of an admin, here or in a parent cgroup, allows no other beside it.
    ExclusiveProgram {
        /// The helper's cgroup.
        cgroup: String,
    },
    /// Attaching would switch off a program that an admin has attached to a parent cgroup.
    WouldHide {
        /// The parent cgroup.
        cgroup: String,
    },
    /// There are [`MAX_HELPERS`] programs on the user's slice already.
    TooMany {
        /// How many may be there.
        limit: u32,
    },
    /// The kernel took the programs, and they do not do what they are for.
    NotLed {
        /// The test that failed.
        test: String,
    },

    // For a request
    /// The frame is no request.
    Malformed {
        /// The parser's message.
        problem: String,
    },
    /// The frame is longer than [`MAX_FRAME`].
    TooLong {
        /// The length that it begins with.
        length: u32,
    },
    /// A frame of length zero.
    Empty,
    /// The library's major version is another one.
    WrongVersion {
        /// The helper's [`MAJOR`].
        major: u16,
        /// The helper's [`MINOR`].
        minor: u16,
    },
    /// The first frame is not a hello.
    NoHello,
    /// A second hello.
    SecondHello,
    /// There is no process with the id that the hello gives.
    NoSuchProcess {
        /// The id.
        pid: u32,
    },
    /// More than [`MAX_REDIRECTS`].
    TooManyRedirects {
        /// How many were asked for.
        count: usize,
    },
    /// A destination that no pod can have.
    BadDestination {
        /// The destination.
        to: SocketAddr,
        /// What it is instead.
        why: Destination,
    },
    /// A port below [`MIN_PORT`].
    LowPort {
        /// The redirect's destination.
        to: SocketAddr,
        /// The port.
        port: u16,
    },
    /// A destination that occurs twice.
    Twice {
        /// The destination.
        to: SocketAddr,
    },
    /// Nothing listens on the redirect's port.
    NoListener {
        /// The port.
        via: u16,
    },
    /// Another user listens on the redirect's port.
    ForeignListener {
        /// The port.
        via: u16,
        /// The other user.
        uid: u32,
    },

    /// A system call failed.
    Kernel {
        /// What was asked of the kernel.
        step: String,
        /// Its answer.
        problem: String,
    },
}

/// What keeps the helper from its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The file has none, or not all of them.
    FileCapabilities,
    /// The bounding set does not have them, as in most containers.
    BoundingSet,
    /// The process is in a user namespace of its own.
    UserNamespace,
    /// None of these.
    Unknown,
}

/// What an address is that no pod can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// This machine's own.
    Local,
    /// 127.0.0.0/8 or `::1`.
    Loopback,
    /// 0.0.0.0/8 or `::`.
    Unspecified,
    /// Many machines.
    Multicast,
    /// All machines.
    Broadcast,
    /// Only valid on one link.
    LinkLocal,
    /// 240.0.0.0/4.
    Reserved,
    /// An IPv4 address in an IPv6 one.
    Mapped,
}

/// Reads the length before a frame.
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

/// Reads a request.
///
/// # Errors
/// [`Refusal::Malformed`]
pub fn request(frame: &[u8]) -> Result<Request, Refusal> {
    serde_json::from_slice(frame).map_err(|error| {
        // The parser quotes its input.
        Refusal::Malformed { problem: error.to_string().chars().take(200).collect() }
    })
}

/// Reads an answer.
///
/// # Errors
/// What the parser says.
pub fn answer(frame: &[u8]) -> Result<Answer, String> {
    serde_json::from_slice(frame).map_err(|error| error.to_string())
}

/// Writes a request or an answer, without its length.
///
/// # Panics
/// Never: these types have nothing in them that JSON has not.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn longest() -> Redirect {
        let to = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        Redirect { to, via: 65535 }
    }

    #[test]
    fn what_is_written_is_read() {
        let to = "10.244.1.8:4369".parse().unwrap();
        for sent in [
            Request::Hello { major: 2, minor: 0, pid: 77 },
            Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }, longest()] },
            Request::Status { id: u64::MAX },
            Request::Stop { id: 0 },
        ] {
            assert_eq!(request(&encode(&sent)).unwrap(), sent);
        }
        for sent in [
            Answer::Refused { id: None, refusal: Refusal::Twice { to } },
            Answer::Refused {
                id: Some(3),
                refusal: Refusal::NoCapability { why: Missing::BoundingSet },
            },
            Answer::Applied { id: 1, redirects: 2 },
        ] {
            assert_eq!(answer(&encode(&sent)).unwrap(), sent);
        }
    }

    // An installed helper is older or newer than the library: the bytes must stay as they are.
    #[test]
    fn the_encoding_does_not_change() {
        let to = "10.244.1.8:4369".parse().unwrap();
        let sent = Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }] };
        let text = r#"{"apply":{"id":1,"redirects":[{"to":"10.244.1.8:4369","via":40001}]}}"#;
        assert_eq!(encode(&sent), text.as_bytes());
        let hello = br#"{"hello":{"major":1,"minor":9,"pid":5,"new_field":true}}"#;
        assert_eq!(request(hello).unwrap(), Request::Hello { major: 1, minor: 9, pid: 5 });
        let refused = Answer::Refused { id: None, refusal: Refusal::NoCgroup2 };
        assert_eq!(encode(&refused), br#"{"refused":{"id":null,"refusal":"no_cgroup2"}}"#);
    }

    #[test]
    fn the_longest_set_fits() {
        let redirects = vec![longest(); MAX_REDIRECTS];
        assert!(encode(&Request::Apply { id: u64::MAX, redirects }).len() <= MAX_FRAME);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in [
            "",
            "null",
            "{}",
            "[]",
            "{\"apply\":{}}",
            "{\"apply\":{\"id\":-1,\"redirects\":[]}}",
            "{\"exec\":{\"id\":1}}",
            "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"x\",\"via\":1}]}}",
            "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"1.2.3.4:5\",\"via\":99999}]}}",
            "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"1.2.3.4:5\",\"via\":9,\"uid\":0}]}}",
        ] {
            assert!(matches!(request(bad.as_bytes()), Err(Refusal::Malformed { .. })), "{bad}");
        }
        assert_eq!(frame_length([0; 4]), Err(Refusal::Empty));
        assert_eq!(frame_length([0, 2, 0, 0]).unwrap(), MAX_FRAME);
        assert_eq!(frame_length([0, 2, 0, 1]), Err(Refusal::TooLong { length: 131_073 }));
    }
}

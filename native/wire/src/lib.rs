//! What `k8s_connect` and its helper say to each other: JSON in frames that begin with their length
//! in four bytes. The library speaks first, with [`Request::Hello`]; after that each request gets
//! one [`Answer`] with the request's id.
//!
//! The helper is installed by an admin and the library by everybody, so the two are of different
//! ages: the same [`MAJOR`] understands each other. A newer minor version may add requests and
//! fields of answers; it may send what is new only to a helper that has said that it is new enough.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A helper of another major version is not spoken to.
pub const MAJOR: u16 = 1;
/// Counts additions.
pub const MINOR: u16 = 0;
/// The longest frame, without its length: room for [`MAX_REDIRECTS`] of the longest addresses.
pub const MAX_FRAME: usize = 128 * 1024;
/// The most redirects at once.
pub const MAX_REDIRECTS: usize = 1024;
/// The most helpers that one user has at once.
pub const MAX_HELPERS: u32 = 16;
/// The lowest port that may be redirected, or redirected to.
pub const MIN_PORT: u16 = 1024;

/// From the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first frame.
    Hello {
        /// The library's [`MAJOR`].
        major: u16,
        /// The library's [`MINOR`].
        minor: u16,
        /// The process id of the BEAM: when it ends, everything ends.
        pid: u32,
    },
    /// Makes these the redirects, all of them, in one step.
    Apply {
        /// Comes back in the answer.
        id: u64,
        /// The whole set.
        redirects: Vec<Redirect>,
    },
    /// Asks how things are.
    Status {
        /// Comes back in the answer.
        id: u64,
    },
    /// Ends the connections that go by a redirect, takes back everything, and ends the helper.
    Reset {
        /// Comes back in the answer.
        id: u64,
    },
}

/// Connections of the caller's to an address, led to a port of the loopback of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The address that is connected to.
    pub to: SocketAddr,
    /// The port on `127.0.0.1` or `::1` where the connection arrives.
    pub via: u16,
}

/// From the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Hello`].
    Hello {
        /// The helper's [`MAJOR`].
        major: u16,
        /// The helper's [`MINOR`].
        minor: u16,
        /// The helper's version.
        version: String,
        /// Whose connections are redirected.
        uid: u32,
        /// The mechanism that works here.
        mechanism: Option<String>,
        /// Why none does.
        unable: Option<Refusal>,
    },
    /// The redirects are what was asked for; the kernel was asked back.
    Applied {
        /// The request's.
        id: u64,
        /// How many there are.
        redirects: usize,
        /// The addresses that had no route and have one of ours now.
        routed: Vec<IpAddr>,
    },
    /// To [`Request::Status`].
    Status {
        /// The request's.
        id: u64,
        /// The redirects that there are.
        redirects: Vec<Redirect>,
        /// The addresses that have a route of ours.
        routed: Vec<IpAddr>,
        /// The capabilities that are kept.
        capabilities: Vec<String>,
    },
    /// Nothing was done, and all is as it was.
    Refused {
        /// The request's, if it could be read.
        id: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
}

/// Why the helper did not do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The frame is no request.
    Malformed {
        /// What the parser says.
        problem: String,
    },
    /// The frame is longer than [`MAX_FRAME`].
    TooLong {
        /// How long it says it is.
        length: u32,
    },
    /// A frame without anything in it.
    Empty,
    /// The library's major version is another one.
    WrongVersion {
        /// The helper's [`MAJOR`].
        major: u16,
        /// The helper's [`MINOR`].
        minor: u16,
    },
    /// The first frame was something else than a hello.
    NoHello,
    /// A second hello.
    SecondHello,
    /// The process that is to be the life line is not there, or another user's.
    NotYourProcess {
        /// The process.
        pid: u32,
    },
    /// The helper is setuid; it refuses to be.
    SetUid,
    /// The helper has no capability.
    NotPermitted {
        /// What kept it from having one.
        why: Missing,
    },
    /// The user has [`MAX_HELPERS`] already.
    TooManyHelpers {
        /// How many that is.
        limit: u32,
    },
    /// More than [`MAX_REDIRECTS`].
    TooMany {
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
    /// One destination twice.
    Twice {
        /// The destination.
        to: SocketAddr,
    },
    /// Nothing listens where the connections are to arrive.
    NoListener {
        /// The port.
        via: u16,
    },
    /// Somebody else listens where the connections are to arrive.
    ForeignListener {
        /// The port.
        via: u16,
        /// Who.
        uid: u32,
    },
    /// The address has no route, and it could not be given one.
    NoRoute {
        /// The address.
        to: IpAddr,
        /// What was tried, and what was seen.
        problem: String,
    },
    /// The kernel did not do what was asked.
    Kernel {
        /// What was asked.
        step: String,
        /// What it said.
        problem: String,
    },
}

/// What keeps the helper from having its capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The file has none.
    FileCapability,
    /// `no_new_privs` is set for the BEAM, and so for all it starts.
    NoNewPrivs,
    /// The bounding set does not have it, as in most containers.
    BoundingSet,
    /// The file is on a file system that is mounted `nosuid`.
    NoSuid,
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
        // The parser quotes what it has read; a few words of it are enough.
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
            Request::Hello { major: 1, minor: 0, pid: 77 },
            Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }, longest()] },
            Request::Status { id: u64::MAX },
            Request::Reset { id: 0 },
        ] {
            assert_eq!(request(&encode(&sent)).unwrap(), sent);
        }
        for sent in [
            Answer::Refused { id: None, refusal: Refusal::Twice { to } },
            Answer::Refused {
                id: Some(3),
                refusal: Refusal::NotPermitted { why: Missing::NoSuid },
            },
            Answer::Applied { id: 1, redirects: 2, routed: vec![to.ip()] },
        ] {
            assert_eq!(answer(&encode(&sent)).unwrap(), sent);
        }
    }

    // The bytes themselves: an installed helper has only them to go by.
    #[test]
    fn the_wire_is_as_it_was() {
        let to = "10.244.1.8:4369".parse().unwrap();
        let sent = Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }] };
        let text = r#"{"apply":{"id":1,"redirects":[{"to":"10.244.1.8:4369","via":40001}]}}"#;
        assert_eq!(encode(&sent), text.as_bytes());
        let hello = br#"{"hello":{"major":1,"minor":9,"pid":5,"what_is_new":true}}"#;
        assert_eq!(request(hello).unwrap(), Request::Hello { major: 1, minor: 9, pid: 5 });
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

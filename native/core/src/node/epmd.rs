//! The protocol of epmd, as its client and as a server. The client uses the answer line by line: containerd
//! delays the end of it by a second.
//!
//! The protocol: <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#epmd-protocol>.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::node_name::is_valid_part;

/// The port that epmd listens on.
pub const PORT: u16 = 4369;
/// `NAMES_REQ`: two bytes of length, and the letter.
pub const NAMES: Bytes = Bytes::from_static(b"\x00\x01n");
const NAMES_REQ: u8 = b'n';
const PORT_PLEASE2_REQ: u8 = b'z';
const PORT2_RESP: u8 = b'w';
/// A node that is not hidden. The handshake decides whether the connection is.
const NORMAL_NODE: u8 = 77;
const TCP: u8 = 0;
/// The handshake versions of OTP 23 and later, and before that.
const VERSIONS: [u16; 2] = [6, 5];
/// The lines of epmd are far shorter.
const MAX_LINE: usize = 512;

/// A registered node: the part of its name before the `@`, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the host.
    pub name: String,
    /// The distribution port.
    pub port: u16,
}

/// Parses the answer to [`NAMES`] as it arrives.
#[derive(Debug, Default)]
pub struct Names {
    input: BytesMut,
    started: bool,
}

impl Names {
    /// Adds bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next node; `None` where more bytes are needed. Invalid names are skipped: names are shown, and go
    /// into commands that are suggested.
    ///
    /// # Errors
    /// What arrived instead of a line of epmd.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, String> {
        if !self.started {
            if self.input.len() < 4 {
                return Ok(None);
            }
            // The answer begins with the port of epmd.
            let port = self.input.get_u32();
            if !(1..=0xffff).contains(&port) {
                return Err(format!("an answer that begins with {port:#010x}"));
            }
            self.started = true;
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line = self.input.split_to(end + 1);
            let entry = parse_line(&line[..end])?;
            if is_valid_part(&entry.name) {
                return Ok(Some(entry));
            }
        }
        if self.input.len() > MAX_LINE {
            return Err("a line without an end".into());
        }
        Ok(None)
    }
}

/// `name app at port 5555`
fn parse_line(line: &[u8]) -> Result<Entry, String> {
    let invalid = || format!("the line {:?}", String::from_utf8_lossy(&line[..line.len().min(80)]));
    let text = std::str::from_utf8(line).map_err(|_| invalid())?;
    let (name, port) = text
        .strip_prefix("name ")
        .and_then(|rest| rest.rsplit_once(" at port "))
        .ok_or_else(invalid)?;
    let port: u16 = port.trim_end().parse().map_err(|_| invalid())?;
    if name.is_empty() || port == 0 {
        return Err(invalid());
    }
    Ok(Entry { name: name.into(), port })
}

/// The answer of an epmd with these nodes to a request, which is passed without its two bytes of length. `None`
/// where epmd would close the connection without an answer.
#[must_use]
pub fn answer(request: &[u8], nodes: &[Entry]) -> Option<Bytes> {
    match request.split_first()? {
        (&NAMES_REQ, []) => Some(all_names(nodes)),
        (&PORT_PLEASE2_REQ, name) => {
            let node = nodes.iter().find(|node| node.name.as_bytes() == name);
            Some(node.and_then(one_port).unwrap_or(Bytes::from_static(&[PORT2_RESP, 1])))
        }
        _ => None,
    }
}

fn all_names(nodes: &[Entry]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(PORT.into());
    for Entry { name, port } in nodes {
        out.put_slice(format!("name {name} at port {port}\n").as_bytes());
    }
    out.freeze()
}

fn one_port(node: &Entry) -> Option<Bytes> {
    let mut out = BytesMut::new();
    out.put_slice(&[PORT2_RESP, 0]);
    out.put_u16(node.port);
    out.put_slice(&[NORMAL_NODE, TCP]);
    out.extend(VERSIONS.iter().flat_map(|version| version.to_be_bytes()));
    out.put_u16(u16::try_from(node.name.len()).ok()?);
    out.put_slice(node.name.as_bytes());
    out.put_u16(0); // the length of the extra field
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<Entry>, String> {
        let (mut names, mut found) = (Names::default(), Vec::new());
        for piece in pieces {
            names.feed(piece);
            while let Some(entry) = names.next_entry()? {
                found.push(entry);
            }
        }
        Ok(found)
    }

    #[test]
    fn lines_are_returned_as_soon_as_they_are_complete() {
        let mut names = Names::default();
        names.feed(b"\x00\x00\x11\x11name app at port 5555\nname oth");
        assert_eq!(names.next_entry().unwrap().unwrap(), Entry { name: "app".into(), port: 5555 });
        assert_eq!(names.next_entry().unwrap(), None);
        names.feed(b"er at port 1\n");
        assert_eq!(names.next_entry().unwrap().unwrap(), Entry { name: "other".into(), port: 1 });
    }

    #[test]
    fn the_answer_may_be_split_anywhere() {
        let answer =
            b"\x00\x00\x11\x11name a at port 7\nname x;y at port 8\nname x at port 65535\n";
        let whole = all(&[answer]).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[1], Entry { name: "x".into(), port: 65535 });
        for cut in 0..answer.len() {
            assert_eq!(all(&[&answer[..cut], &answer[cut..]]).unwrap(), whole);
        }
    }

    #[test]
    fn invalid_names_are_skipped() {
        for name in ["a at port b", "x;curl", "x$(id)", "\x1b[2J", "a@b"] {
            let answer = format!("\0\0\x11\x11name {name} at port 7\n");
            assert_eq!(all(&[answer.as_bytes()]).unwrap(), [], "{name}");
        }
    }

    #[test]
    fn an_answer_that_is_not_of_epmd_is_described() {
        let head = b"\x00\x00\x11\x11".as_slice();
        assert!(all(&[b"HTTP/1.1 400"]).unwrap_err().contains("0x48545450"));
        for line in
            ["\n", "name at port 5\n", "name x at port 0\n", "name x at port 99999\n", "hello\n"]
        {
            assert!(all(&[head, line.as_bytes()]).unwrap_err().contains("the line"), "{line}");
        }
        assert!(all(&[head, b"name \xff at port 5\n"]).is_err());
        assert!(all(&[head, &[b'x'; 600]]).unwrap_err().contains("without an end"));
    }
    fn two() -> [Entry; 2] {
        let entry = |name: &str, port| Entry { name: name.into(), port };
        [entry("app", 5555), entry("worker", 0x0102)]
    }

    #[test]
    fn what_is_answered_can_be_read_again() {
        let answer = answer(&NAMES[2..], &two()).unwrap();
        assert_eq!(all(&[&answer]).unwrap(), two());
        assert_eq!(answer[..], *b"\0\0\x11\x11name app at port 5555\nname worker at port 258\n");
    }

    #[test]
    fn a_port_is_answered_as_epmd_does() {
        let known = answer(b"zworker", &two()).unwrap();
        assert_eq!(known[..], *b"\x77\0\x01\x02\x4d\0\0\x06\0\x05\0\x06worker\0\0");
        for unknown in [b"zwork".as_slice(), b"zworker2", b"z"] {
            assert_eq!(answer(unknown, &two()).unwrap()[..], [119, 1]);
        }
    }

    #[test]
    fn other_requests_have_no_answer() {
        for request in [b"".as_slice(), b"x", b"k", b"d", b"nn", b"app"] {
            assert_eq!(answer(request, &two()), None);
        }
    }
}

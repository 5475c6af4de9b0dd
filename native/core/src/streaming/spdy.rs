//! SPDY/3.1 frames, as far as port-forward and exec need them. Pure, no I/O.
//!
//! The draft: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. We send header
//! blocks as stored deflate blocks, so there is no compressor here. Received header blocks are skipped:
//! the client needs nothing in them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

const VERSION: u16 = 0x8003;
const FLAG_FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
/// `RST_STREAM` status: the sender no longer wants the stream.
const CANCEL: u32 = 5;
/// No control frame of a valid peer is larger.
const MAX_CONTROL: usize = 64 * 1024;
/// A stored deflate block and a frame's length field hold no more.
const MAX_HEADERS: usize = 0xffff;

/// A received frame. Data is returned as it arrives, not frame by frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream, and whether they are its last.
    Data {
        /// The stream's id.
        stream: u32,
        /// The bytes. May be empty where `fin` is set.
        bytes: Bytes,
        /// Whether these are the last bytes of the peer on this stream.
        fin: bool,
    },
    /// The peer accepts the stream.
    Reply {
        /// The stream's id.
        stream: u32,
        /// Whether the peer sends nothing on this stream.
        fin: bool,
    },
    /// The peer ends a stream at once.
    Reset {
        /// The stream's id.
        stream: u32,
        /// The status code of the draft.
        status: u32,
    },
    /// A ping. Where the id is odd, it answers ours.
    Ping {
        /// The ping's id.
        id: u32,
    },
    /// The peer accepts no new streams.
    Goaway,
    /// Any other frame, which the draft says to ignore.
    Ignored,
}

/// The peer broke the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A control frame of another protocol version.
    #[error("control frame of version {0:#06x}, expected 0x8003")]
    Version(u16),
    /// A control frame that is too long to be one.
    #[error("control frame of {0} bytes")]
    TooLong(usize),
    /// A control frame that is too short for its type.
    #[error("control frame of type {kind} with {length} bytes")]
    TooShort {
        /// The frame's type.
        kind: u16,
        /// The frame's length.
        length: usize,
    },
}

/// Decodes bytes to frames.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The rest of a data frame whose header was read.
    open: Option<OpenData>,
}

#[derive(Debug)]
struct OpenData {
    stream: u32,
    left: usize,
    fin: bool,
}

impl Decoder {
    /// Takes the next frame out of `input`; `None` means that more bytes are needed.
    ///
    /// # Errors
    /// [`Error`]; the connection cannot be used after one.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.open.is_none() {
            if input.len() < 8 {
                return Ok(None);
            }
            let length = usize::try_from(u32::from_be_bytes([0, input[5], input[6], input[7]]))
                .unwrap_or(usize::MAX);
            if input[0] & 0x80 != 0 {
                return next_control(input, length);
            }
            let stream = input.get_u32();
            let fin = input.get_u8() & FLAG_FIN != 0;
            input.advance(3);
            self.open = Some(OpenData { stream, left: length, fin });
        }
        Ok(self.next_data(input))
    }

    fn next_data(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let open = self.open.as_mut()?;
        if input.is_empty() && open.left > 0 {
            return None;
        }
        let bytes = input.split_to(open.left.min(input.len())).freeze();
        open.left -= bytes.len();
        let frame = Frame::Data { stream: open.stream, bytes, fin: open.fin && open.left == 0 };
        if open.left == 0 {
            self.open = None;
        }
        Some(frame)
    }
}

fn next_control(input: &mut BytesMut, length: usize) -> Result<Option<Frame>, Error> {
    let version = u16::from_be_bytes([input[0], input[1]]);
    if version != VERSION {
        return Err(Error::Version(version));
    }
    if length > MAX_CONTROL {
        return Err(Error::TooLong(length));
    }
    if input.len() < 8 + length {
        return Ok(None);
    }
    let mut frame = input.split_to(8 + length);
    frame.advance(2);
    let kind = frame.get_u16();
    let fin = frame.get_u8() & FLAG_FIN != 0;
    frame.advance(3);
    let needed = match kind {
        SYN_REPLY | PING => 4,
        RST_STREAM => 8,
        _ => 0,
    };
    if frame.len() < needed {
        return Err(Error::TooShort { kind, length });
    }
    Ok(Some(match kind {
        SYN_REPLY => Frame::Reply { stream: frame.get_u32(), fin },
        RST_STREAM => Frame::Reset { stream: frame.get_u32(), status: frame.get_u32() },
        PING => Frame::Ping { id: frame.get_u32() },
        GOAWAY => Frame::Goaway,
        _ => Frame::Ignored,
    }))
}

/// Encodes frames to bytes. One for each connection: the first header block differs.
#[derive(Debug, Default)]
pub struct Encoder {
    started: bool,
}

impl Encoder {
    /// Opens a stream with these headers. `fin` means that we send nothing on it. Headers may have 64 KiB;
    /// ours have a hundred bytes.
    pub fn open(&mut self, out: &mut BytesMut, stream: u32, fin: bool, headers: &[(&str, &str)]) {
        let block = self.header_block(headers);
        put_control(out, SYN_STREAM, if fin { FLAG_FIN } else { 0 }, 10 + block.len());
        out.put_u32(stream);
        out.put_u32(0); // associated with no other stream
        out.put_u16(0); // priority and credential slot
        out.put_slice(&block);
    }

    fn header_block(&mut self, headers: &[(&str, &str)]) -> BytesMut {
        let mut plain = BytesMut::new();
        put_length(&mut plain, headers.len());
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            put_length(&mut plain, text.len());
            plain.put_slice(text.as_bytes());
        }
        debug_assert!(plain.len() <= MAX_HEADERS, "headers of {} bytes", plain.len());
        let length = u16::try_from(plain.len()).unwrap_or(u16::MAX);

        let mut block = BytesMut::new();
        // The zlib header comes once: all header blocks are one zlib stream.
        if !self.started {
            block.put_slice(&[0x78, 0x01]);
            self.started = true;
        }
        block.put_u8(0); // a stored block
        block.put_u16_le(length);
        block.put_u16_le(!length);
        block.put_slice(&plain);
        // An empty stored block: Go's reader returns the data only at such a sync marker.
        block.put_slice(&[0, 0, 0, 0xff, 0xff]);
        block
    }
}

/// The header of a data frame of `length` bytes, at most 16 MiB.
pub fn put_data_header(out: &mut BytesMut, stream: u32, fin: bool, length: usize) {
    out.put_u32(stream);
    out.put_u8(if fin { FLAG_FIN } else { 0 });
    put_u24(out, length);
}

/// Ends a stream at once, in both directions.
pub fn put_reset(out: &mut BytesMut, stream: u32) {
    put_control(out, RST_STREAM, 0, 8);
    out.put_u32(stream);
    out.put_u32(CANCEL);
}

/// A ping. Our ids are odd.
pub fn put_ping(out: &mut BytesMut, id: u32) {
    put_control(out, PING, 0, 4);
    out.put_u32(id);
}

fn put_control(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(VERSION);
    out.put_u16(kind);
    out.put_u8(flags);
    put_u24(out, length);
}

fn put_u24(out: &mut BytesMut, length: usize) {
    debug_assert!(length < 1 << 24, "a frame of {length} bytes");
    let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.put_slice(&bytes[1..]);
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests;

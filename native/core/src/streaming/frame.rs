//! The frames of a connection to a pod, in each of its forms: encodes commands to bytes, and decodes
//! bytes to frames.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Chunks, spdy,
    websocket::{self, Kind},
};

/// The form of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SPDY frames as they are.
    Spdy,
    /// SPDY frames in WebSocket messages. The boundaries of the messages have no meaning.
    Tunnel,
    /// One pair of streams, in WebSocket messages that each begin with the number of a channel.
    Channels(Channels),
}

/// The channel numbers of a pair of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// The data.
    pub data: u8,
    /// The error message or status.
    pub error: u8,
    /// How many bytes at the beginning of each channel are a header.
    pub skip: usize,
}

impl Channels {
    /// A port-forward: each channel begins with the port.
    pub const FORWARD: Self = Self { data: 0, error: 1, skip: 2 };
    /// The standard output of a command, and its status.
    pub const OUTPUT: Self = Self { data: 1, error: 3, skip: 0 };
}

/// What to send on streams, in the order of each stream.
pub enum Command {
    Open { error: u32, data: u32, purpose: Purpose, first: Bytes },
    Data { stream: u32, bytes: Bytes, fin: bool },
}

/// The purpose of a pair of streams.
pub enum Purpose {
    Port(u16),
    Output,
}

/// What to send without waiting for room in the queue.
#[derive(Debug, PartialEq, Eq)]
pub enum ControlFrame {
    Reset(u32),
    Ping(u32),
    Pong(Pong),
}

/// The answer to a ping of the peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Pong {
    Spdy(u32),
    WebSocket(Bytes),
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data {
        stream: u32,
        bytes: Bytes,
        fin: bool,
    },
    Reset(u32),
    /// A ping, as the answer to send.
    Ping(Pong),
    /// The peer accepts no new streams.
    GoingAway,
    /// The peer closes the connection.
    Closed(String),
    Ignored,
}

/// Decodes bytes to frames.
pub struct Decoder {
    form: Form,
    spdy: spdy::Decoder,
    websocket: websocket::Decoder,
    /// SPDY frames from messages.
    plain: BytesMut,
    /// The channel of the current message.
    channel: u8,
    /// The rest of each channel's header.
    skip: [usize; 2],
}

impl Decoder {
    pub fn new(form: Form) -> Self {
        let skip = if let Form::Channels(channels) = form { channels.skip } else { 0 };
        Self {
            form,
            spdy: spdy::Decoder::default(),
            websocket: websocket::Decoder::default(),
            plain: BytesMut::new(),
            channel: 0,
            skip: [skip, skip],
        }
    }

    /// Takes the next frame out of `input`; `None` means that more bytes are needed. An error is a message
    /// about the peer; the connection cannot be used after it.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, String> {
        match self.form {
            Form::Spdy => Ok(next_spdy(&mut self.spdy, input)?),
            Form::Tunnel => self.next_in_tunnel(input),
            Form::Channels(channels) => Ok(match self.next_message(input)? {
                Some(websocket::Frame::Data { bytes, first }) => {
                    Some(self.channel_data(channels, bytes, first))
                }
                other => other.map(from_control_frame),
            }),
        }
    }

    fn next_in_tunnel(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, String> {
        loop {
            if let Some(frame) = next_spdy(&mut self.spdy, &mut self.plain)? {
                return Ok(Some(frame));
            }
            match self.next_message(input)? {
                Some(websocket::Frame::Data { bytes, .. }) => self.plain.extend_from_slice(&bytes),
                other => return Ok(other.map(from_control_frame)),
            }
        }
    }

    fn next_message(&mut self, input: &mut BytesMut) -> Result<Option<websocket::Frame>, String> {
        let problem = |error| format!("the API server does not speak WebSocket: {error}");
        self.websocket.next(input).map_err(problem)
    }

    fn channel_data(&mut self, channels: Channels, mut bytes: Bytes, first: bool) -> Frame {
        if first {
            self.channel = bytes.get_u8();
        }
        let Some(side) = [channels.data, channels.error].iter().position(|c| *c == self.channel)
        else {
            return Frame::Ignored;
        };
        let skipped = self.skip[side].min(bytes.len());
        self.skip[side] -= skipped;
        bytes.advance(skipped);
        Frame::Data { stream: self.channel.into(), bytes, fin: false }
    }
}

fn next_spdy(decoder: &mut spdy::Decoder, input: &mut BytesMut) -> Result<Option<Frame>, String> {
    let problem = |error| format!("the API server does not speak SPDY/3.1: {error}");
    let frame = decoder.next(input).map_err(problem)?;
    Ok(frame.map(|frame| match frame {
        spdy::Frame::Data { stream, bytes, fin } => Frame::Data { stream, bytes, fin },
        spdy::Frame::Reply { stream, fin: true } => {
            Frame::Data { stream, bytes: Bytes::new(), fin: true }
        }
        spdy::Frame::Reset { stream, .. } => Frame::Reset(stream),
        spdy::Frame::Ping { id } if id % 2 == 0 => Frame::Ping(Pong::Spdy(id)),
        spdy::Frame::Goaway => Frame::GoingAway,
        _ => Frame::Ignored,
    }))
}

fn from_control_frame(frame: websocket::Frame) -> Frame {
    match frame {
        websocket::Frame::Ping(bytes) => Frame::Ping(Pong::WebSocket(bytes)),
        websocket::Frame::Close(reason) => Frame::Closed(reason),
        websocket::Frame::Pong | websocket::Frame::Data { .. } => Frame::Ignored,
    }
}

/// Less is copied into one chunk with its frame.
const LARGE: usize = 4 * 1024;

/// Encodes commands and control frames to bytes.
pub struct Encoder {
    form: Form,
    spdy: spdy::Encoder,
    /// SPDY frames.
    plain: BytesMut,
    /// WebSocket frames.
    out: BytesMut,
    /// What comes before `plain`: SPDY frames, and large data as it came, which is not copied.
    chunks: Vec<Bytes>,
}

impl Encoder {
    pub fn new(form: Form) -> Self {
        let (plain, out) = (BytesMut::new(), BytesMut::new());
        Self { form, spdy: spdy::Encoder::default(), plain, out, chunks: Vec::new() }
    }

    pub fn command(&mut self, command: Command) {
        match (self.form, command) {
            (
                Form::Channels(channels),
                Command::Open { first: bytes, .. } | Command::Data { bytes, .. },
            ) => {
                // This form cannot end only the sending direction, and an empty message has no meaning.
                if !bytes.is_empty() {
                    websocket::put(&mut self.out, Kind::Binary, &[&[channels.data], &bytes]);
                }
            }
            (_, Command::Open { error, data, purpose, first }) => {
                self.open(error, data, &purpose);
                put_data(&mut self.plain, data, &first, false);
            }
            (Form::Spdy, Command::Data { stream, bytes, fin }) if bytes.len() >= LARGE => {
                spdy::put_data_header(&mut self.plain, stream, fin, bytes.len());
                self.chunks.extend([self.plain.split().freeze(), bytes]);
            }
            (_, Command::Data { stream, bytes, fin }) => {
                put_data(&mut self.plain, stream, &bytes, fin);
            }
        }
    }

    /// We send nothing on the error stream. The data follows the two requests without waiting for an
    /// answer: the runtime processes the frames of a stream in order.
    fn open(&mut self, error: u32, data: u32, purpose: &Purpose) {
        let (spdy, out) = (&mut self.spdy, &mut self.plain);
        match purpose {
            Purpose::Port(port) => {
                let (port, id) = (port.to_string(), error.to_string());
                let headers =
                    |kind| [("port", port.as_str()), ("streamtype", kind), ("requestid", &id)];
                spdy.open(out, error, true, &headers("error"));
                spdy.open(out, data, false, &headers("data"));
            }
            Purpose::Output => {
                spdy.open(out, error, true, &[("streamtype", "error")]);
                spdy.open(out, data, true, &[("streamtype", "stdout")]);
            }
        }
    }

    pub fn control(&mut self, control: &ControlFrame) {
        match (self.form, control) {
            (_, ControlFrame::Pong(Pong::WebSocket(bytes))) => {
                websocket::put(&mut self.out, Kind::Pong, &[bytes]);
            }
            (Form::Channels(_), ControlFrame::Ping(id)) => {
                websocket::put(&mut self.out, Kind::Ping, &[&id.to_be_bytes()]);
            }
            // The connection has only this pair. 1000 is a normal closure.
            (Form::Channels(_), ControlFrame::Reset(_)) => {
                websocket::put(&mut self.out, Kind::Close, &[&1000_u16.to_be_bytes()]);
            }
            // In the tunnel a proxy would answer a WebSocket ping.
            (_, ControlFrame::Ping(id) | ControlFrame::Pong(Pong::Spdy(id))) => {
                spdy::put_ping(&mut self.plain, *id);
            }
            (_, ControlFrame::Reset(stream)) => spdy::put_reset(&mut self.plain, *stream),
        }
    }

    /// The number of bytes to write.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum::<usize>() + self.plain.len() + self.out.len()
    }

    /// The bytes to write, until they are cleared.
    pub fn chunks(&mut self) -> Chunks<'_> {
        if self.form != Form::Spdy && !self.plain.is_empty() {
            websocket::put(&mut self.out, Kind::Binary, &[&self.plain]);
            self.plain.clear();
        }
        for rest in [&mut self.plain, &mut self.out] {
            if !rest.is_empty() {
                self.chunks.push(rest.split().freeze());
            }
        }
        Chunks::new(&mut self.chunks)
    }

    pub fn clear(&mut self) {
        self.chunks.clear();
    }
}

fn put_data(out: &mut BytesMut, data: u32, bytes: &[u8], fin: bool) {
    if bytes.is_empty() && !fin {
        return;
    }
    spdy::put_data_header(out, data, fin, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn data(bytes: &Bytes, fin: bool) -> Command {
        Command::Data { stream: 3, bytes: bytes.clone(), fin }
    }

    #[test]
    fn frames_keep_their_order_whether_data_is_copied_or_not() {
        let small = Bytes::from_static(b"small");
        let large: Bytes = (0..LARGE * 3).map(|byte| byte.to_le_bytes()[0]).collect();
        let mut encoder = Encoder::new(Form::Spdy);
        encoder.command(data(&small, false));
        encoder.command(data(&large, false));
        encoder.control(&ControlFrame::Ping(1));
        encoder.command(data(&large, true));
        let length = encoder.len();
        let mut chunks = encoder.chunks();
        assert_eq!(
            chunks.chunk().len(),
            8 + small.len() + 8,
            "the large one is a chunk of its own"
        );
        let mut input = BytesMut::from(&*chunks.copy_to_bytes(chunks.remaining()));
        assert_eq!(input.len(), length);
        let mut decoder = spdy::Decoder::default();
        let mut next = || decoder.next(&mut input).unwrap();
        let frame =
            |bytes: &Bytes, fin| Some(spdy::Frame::Data { stream: 3, bytes: bytes.clone(), fin });
        assert_eq!(next(), frame(&small, false));
        assert_eq!(next(), frame(&large, false));
        assert_eq!(next(), Some(spdy::Frame::Ping { id: 1 }));
        assert_eq!(next(), frame(&large, true));
        assert_eq!(next(), None);
        encoder.clear();
        assert_eq!(encoder.len(), 0);
    }
}

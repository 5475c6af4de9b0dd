//! What a connection to a pod looks like on the wire, in each of its forms: what is to be sent goes in,
//! bytes come out, and the other way round.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    spdy,
    websocket::{self, Kind},
};

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SPDY frames as they are.
    Spdy,
    /// SPDY frames inside of WebSocket messages; where a message ends means nothing.
    Tunnel,
    /// A TCP connection by itself, in WebSocket messages that each begin with the number of a channel.
    Channels(Channels),
}

/// Which channels these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// The connection's data.
    pub data: u8,
    /// What became of it.
    pub error: u8,
    /// The first bytes of both, which are neither.
    pub skip: usize,
}

impl Channels {
    /// A port-forward: each channel says first which port it is for.
    pub const FORWARD: Self = Self { data: 0, error: 1, skip: 2 };
    /// The output of a command, and its status.
    pub const OUTPUT: Self = Self { data: 1, error: 3, skip: 0 };
}

/// Things to write, in the order of one stream's writes.
pub enum Order {
    Open { error: u32, data: u32, what: What, first: Bytes },
    Data { stream: u32, bytes: Bytes, fin: bool },
}

/// What a pair of streams is for.
pub enum What {
    Port(u16),
    Output,
}

/// Things to write that must not wait for room in the queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Control {
    Reset(u32),
    Ping(u32),
    Answer(Answer),
}

/// An answer to a ping of the peer's.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Spdy(u32),
    WebSocket(Bytes),
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data {
        stream: u32,
        bytes: Bytes,
        fin: bool,
    },
    Reset(u32),
    /// A ping, and its answer.
    Answer(Answer),
    /// The peer takes no new streams.
    GoingAway,
    /// The peer ends the connection.
    Closed(String),
    Ignored,
}

/// Turns bytes into frames.
pub struct Decoder {
    form: Form,
    spdy: spdy::Decoder,
    websocket: websocket::Decoder,
    /// SPDY frames that were in messages.
    plain: BytesMut,
    /// The channel of the message that is being read.
    channel: u8,
    /// What is still to be skipped of each channel.
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

    /// Takes the next frame out of `input`; `None` means that more bytes are needed. An error is a
    /// sentence about the peer, and the end of the connection.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, String> {
        match self.form {
            Form::Spdy => Ok(next_spdy(&mut self.spdy, input)?),
            Form::Tunnel => self.next_in_tunnel(input),
            Form::Channels(channels) => Ok(match self.next_message(input)? {
                Some(websocket::Frame::Data { bytes, first }) => {
                    Some(self.of_channel(channels, bytes, first))
                }
                other => other.map(of_control),
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
                other => return Ok(other.map(of_control)),
            }
        }
    }

    fn next_message(&mut self, input: &mut BytesMut) -> Result<Option<websocket::Frame>, String> {
        let told = |error| format!("the API server does not speak WebSocket: {error}");
        self.websocket.next(input).map_err(told)
    }

    fn of_channel(&mut self, channels: Channels, mut bytes: Bytes, first: bool) -> Frame {
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
    let told = |error| format!("the API server does not speak SPDY/3.1: {error}");
    let frame = decoder.next(input).map_err(told)?;
    Ok(frame.map(|frame| match frame {
        spdy::Frame::Data { stream, bytes, fin } => Frame::Data { stream, bytes, fin },
        spdy::Frame::Reply { stream, fin: true } => {
            Frame::Data { stream, bytes: Bytes::new(), fin: true }
        }
        spdy::Frame::Reset { stream, .. } => Frame::Reset(stream),
        spdy::Frame::Ping { id } if id % 2 == 0 => Frame::Answer(Answer::Spdy(id)),
        spdy::Frame::Goaway => Frame::GoingAway,
        _ => Frame::Ignored,
    }))
}

fn of_control(frame: websocket::Frame) -> Frame {
    match frame {
        websocket::Frame::Ping(bytes) => Frame::Answer(Answer::WebSocket(bytes)),
        websocket::Frame::Close(reason) => Frame::Closed(reason),
        websocket::Frame::Pong | websocket::Frame::Data { .. } => Frame::Ignored,
    }
}

/// Turns what we send into bytes.
pub struct Encoder {
    form: Form,
    spdy: spdy::Encoder,
    /// SPDY frames.
    plain: BytesMut,
    /// WebSocket frames.
    out: BytesMut,
}

impl Encoder {
    pub fn new(form: Form) -> Self {
        let (plain, out) = (BytesMut::new(), BytesMut::new());
        Self { form, spdy: spdy::Encoder::default(), plain, out }
    }

    pub fn order(&mut self, order: Order) {
        match (self.form, order) {
            (
                Form::Channels(channels),
                Order::Open { first: bytes, .. } | Order::Data { bytes, .. },
            ) => {
                // There is no way to say that no more will be sent, and an empty message says nothing.
                if !bytes.is_empty() {
                    websocket::put(&mut self.out, Kind::Binary, &[&[channels.data], &bytes]);
                }
            }
            (_, Order::Open { error, data, what, first }) => {
                self.open(error, data, &what);
                put_data(&mut self.plain, data, &first, false);
            }
            (_, Order::Data { stream, bytes, fin }) => {
                put_data(&mut self.plain, stream, &bytes, fin);
            }
        }
    }

    /// We send nothing on the error stream, and both requests and the data need no answer in between:
    /// the runtime takes the frames of a stream in their order.
    fn open(&mut self, error: u32, data: u32, what: &What) {
        let (spdy, out) = (&mut self.spdy, &mut self.plain);
        match what {
            What::Port(port) => {
                let (port, id) = (port.to_string(), error.to_string());
                let headers =
                    |kind| [("port", port.as_str()), ("streamtype", kind), ("requestid", &id)];
                spdy.open(out, error, true, &headers("error"));
                spdy.open(out, data, false, &headers("data"));
            }
            What::Output => {
                spdy.open(out, error, true, &[("streamtype", "error")]);
                spdy.open(out, data, true, &[("streamtype", "stdout")]);
            }
        }
    }

    pub fn control(&mut self, control: &Control) {
        match (self.form, control) {
            (_, Control::Answer(Answer::WebSocket(bytes))) => {
                websocket::put(&mut self.out, Kind::Pong, &[bytes]);
            }
            (Form::Channels(_), Control::Ping(id)) => {
                websocket::put(&mut self.out, Kind::Ping, &[&id.to_be_bytes()]);
            }
            // The connection has this stream only. The code is that of a normal end.
            (Form::Channels(_), Control::Reset(_)) => {
                websocket::put(&mut self.out, Kind::Close, &[&1000_u16.to_be_bytes()]);
            }
            // In the tunnel a WebSocket's ping would be answered halfway.
            (_, Control::Ping(id) | Control::Answer(Answer::Spdy(id))) => {
                spdy::put_ping(&mut self.plain, *id);
            }
            (_, Control::Reset(stream)) => spdy::put_reset(&mut self.plain, *stream),
        }
    }

    /// How much there is to be written.
    pub fn len(&self) -> usize {
        self.plain.len() + self.out.len()
    }

    /// All that there is to be written, until it is cleared.
    pub fn bytes(&mut self) -> &[u8] {
        if self.form == Form::Spdy {
            return &self.plain;
        }
        if !self.plain.is_empty() {
            websocket::put(&mut self.out, Kind::Binary, &[&self.plain]);
            self.plain.clear();
        }
        &self.out
    }

    pub fn clear(&mut self) {
        self.plain.clear();
        self.out.clear();
    }
}

fn put_data(out: &mut BytesMut, data: u32, bytes: &[u8], fin: bool) {
    if bytes.is_empty() && !fin {
        return;
    }
    spdy::put_data_header(out, data, fin, bytes.len());
    out.extend_from_slice(bytes);
}

//! Streams to a pod over a connection that was upgraded from HTTP: the ground of port-forward and exec.
//!
//! A connection has one of three forms, whichever the server and the proxies before it accept: SPDY, SPDY
//! in a WebSocket, or a WebSocket for one pair of streams.

mod chunks;
mod close_reason;
pub(crate) mod connection;
pub(crate) mod frame;
mod liveness;
pub(crate) mod negotiation;
mod read_buffer;
mod registry;
pub mod spdy;
mod stream;
mod suspend;
pub(crate) mod tls;
mod upgrade;
pub mod websocket;

pub(crate) use chunks::Chunks;
pub(crate) use close_reason::CloseReason;
pub use negotiation::Protocol;
pub(crate) use read_buffer::ReadBuffer;
pub use stream::{Refused, Stream, StreamWriter};
pub(crate) use upgrade::Upgraded;

/// The size in which bulk data is read and sent. Larger chunks cost latency, smaller ones a frame header and a
/// system call more often. With the headers of a frame it fills four TLS records.
pub const CHUNK_SIZE: usize = 64 * 1024 - 64;

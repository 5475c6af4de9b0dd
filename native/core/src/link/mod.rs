//! One upgraded connection to a pod, many TCP streams in it.
//!
//! Two tasks own the connection: one reads frames and hands them to their streams, one writes.
//! SPDY has no flow control here, so a stream that is not read holds up its neighbours once its
//! queue is full: a second heavy stream deserves a link of its own. When either task ends, the
//! link is closed, every stream ends, and [`Link::closed`] says why.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc, watch},
};

pub mod exec;
pub mod spdy;
mod stream;
mod upgrade;

pub use stream::{Refused, Stream, Writer};
pub(crate) use upgrade::{refusal, upgrade};

/// The size of the pieces that data is read and sent in. Larger ones cost latency, smaller ones
/// a frame header and a system call more often.
pub const PIECE: usize = 32 * 1024;
/// Pieces that wait in a stream's queue, and in the link's.
const QUEUE: usize = 16;
/// Silence after which we ask with a ping, and silence after that which means death.
const SILENCE: Duration = Duration::from_secs(10);

/// An upgraded connection. Dropping the last handle and the last stream closes it.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    controls: mpsc::UnboundedSender<Control>,
    closed: watch::Receiver<Option<String>>,
}

struct Shared {
    sinks: Mutex<HashMap<u32, Sink>>,
    /// Held while a stream is opened: ids must rise on the wire.
    next: tokio::sync::Mutex<u32>,
    close: Notify,
    /// Whether bytes of ours wait for the peer to take them: then it cannot answer a ping either.
    writing: AtomicBool,
}

/// Where the frames of a stream go. A TCP connection has two streams: its data and its error text.
#[derive(Clone)]
struct Sink {
    events: mpsc::Sender<Event>,
    is_error: bool,
}

enum Event {
    Data(Bytes),
    Refused(String),
    DataEnd,
    ErrorEnd,
}

/// Things to write, in the order of one stream's writes.
enum Order {
    Open { error: u32, data: u32, what: What, first: Bytes },
    Data { stream: u32, bytes: Bytes, fin: bool },
}

/// What a pair of streams is for.
enum What {
    Port(u16),
    Output,
}

/// Things to write that must not wait for room in the queue.
enum Control {
    Reset(u32),
    Ping(u32),
}

impl Link {
    /// Speaks SPDY on a connection that has been upgraded to it. Must be called on a runtime.
    pub fn new(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(connection);
        let (orders, orders_in) = mpsc::channel(QUEUE);
        let (controls, controls_in) = mpsc::unbounded_channel();
        let (closing, closed) = watch::channel(None);
        let shared = Arc::new(Shared {
            sinks: Mutex::default(),
            next: tokio::sync::Mutex::new(1),
            close: Notify::new(),
            writing: AtomicBool::new(false),
        });
        let write = write_frames(writer, orders_in, controls_in, shared.clone());
        // The reader must not keep the writer's channel open: without handles the link is done.
        let read = read_frames(reader, controls.downgrade(), shared.clone());
        let ended = shared.clone();
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = read => reason,
                reason = write => reason,
                () = ended.close.notified() => "closed".into(),
            };
            // In this order: who sees its stream end can ask for the reason.
            closing.send_replace(Some(reason));
            ended.lock().clear();
        });
        Self { shared, orders, controls, closed }
    }

    /// Opens a TCP connection to a port of the pod's loopback; `first` is sent along with the
    /// request, without waiting for anything. A refusal shows on the stream, not here.
    ///
    /// # Errors
    /// The reason why the link is closed.
    pub async fn open(&self, port: u16, first: Bytes) -> Result<Stream, String> {
        self.open_pair(What::Port(port), first).await
    }

    /// Opens the output of the command that this link was upgraded for.
    async fn open_output(&self) -> Result<Stream, String> {
        self.open_pair(What::Output, Bytes::new()).await
    }

    async fn open_pair(&self, what: What, first: Bytes) -> Result<Stream, String> {
        let (events, incoming) = mpsc::channel(QUEUE);
        let mut next = self.shared.next.lock().await;
        let (error, data) = (*next, *next + 2);
        *next += 4;
        {
            let mut sinks = self.shared.lock();
            sinks.insert(error, Sink { events: events.clone(), is_error: true });
            sinks.insert(data, Sink { events, is_error: false });
        }
        // The stream exists before the order: if the order cannot be given, its drop cleans up.
        let stream = Stream::new(self.clone(), error, data, incoming);
        let order = Order::Open { error, data, what, first };
        self.orders.send(order).await.map_err(|_| self.reason())?;
        Ok(stream)
    }

    /// Ends every stream and the connection, whoever else has a handle.
    pub fn close(&self) {
        self.shared.close.notify_one();
    }

    /// Waits until the link is closed, and says why.
    pub async fn closed(&self) -> String {
        let mut closed = self.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the link's task is gone".into(),
        }
    }

    /// Why the link is closed; `None` where it is not. It is set before the streams end.
    #[must_use]
    pub fn closed_by(&self) -> Option<String> {
        self.closed.borrow().clone()
    }

    fn reason(&self) -> String {
        self.closed.borrow().clone().unwrap_or_else(|| "the link is closing".into())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_frames<R>(
    mut reader: ReadHalf<R>,
    controls: mpsc::WeakUnboundedSender<Control>,
    shared: Arc<Shared>,
) -> String
where
    R: AsyncRead,
{
    let mut input = BytesMut::with_capacity(2 * PIECE);
    let mut decoder = spdy::Decoder::default();
    let (mut ping, mut asked) = (1, false);
    loop {
        input.reserve(PIECE);
        match tokio::time::timeout(SILENCE, reader.read_buf(&mut input)).await {
            Ok(Ok(0)) => return "the API server closed the connection".into(),
            Ok(Ok(_)) => asked = false,
            Ok(Err(error)) => return format!("the connection broke: {error}"),
            Err(_) if asked && !shared.writing.load(Ordering::Relaxed) => {
                return format!("no answer to a ping for {} s", SILENCE.as_secs());
            }
            Err(_) => {
                let Some(controls) = controls.upgrade() else { return "closed".into() };
                let _ = controls.send(Control::Ping(ping));
                ping += 2;
                asked = true;
            }
        }
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => deliver(frame, &controls, &shared).await,
                Ok(None) => break,
                Err(error) => return format!("the API server does not speak SPDY/3.1: {error}"),
            }
        }
    }
}

async fn deliver(
    frame: spdy::Frame,
    controls: &mpsc::WeakUnboundedSender<Control>,
    shared: &Shared,
) {
    match frame {
        spdy::Frame::Data { stream, bytes, fin } => deliver_data(stream, bytes, fin, shared).await,
        spdy::Frame::Reply { stream, fin: true } => {
            deliver_data(stream, Bytes::new(), true, shared).await;
        }
        spdy::Frame::Reset { stream, .. } => end(stream, shared).await,
        spdy::Frame::Ping { id } if id % 2 == 0 => {
            if let Some(controls) = controls.upgrade() {
                let _ = controls.send(Control::Ping(id));
            }
        }
        _ => {}
    }
}

async fn deliver_data(stream: u32, bytes: Bytes, fin: bool, shared: &Shared) {
    let Some(sink) = shared.lock().get(&stream).cloned() else { return };
    if !bytes.is_empty() {
        let event = if sink.is_error {
            Event::Refused(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            Event::Data(bytes)
        };
        // An error here means that nobody reads the stream any more; its drop has reset it.
        let _ = sink.events.send(event).await;
    }
    if fin {
        end(stream, shared).await;
    }
}

async fn end(stream: u32, shared: &Shared) {
    let sink = shared.lock().remove(&stream);
    if let Some(sink) = sink {
        let event = if sink.is_error { Event::ErrorEnd } else { Event::DataEnd };
        let _ = sink.events.send(event).await;
    }
}

async fn write_frames<W>(
    mut writer: WriteHalf<W>,
    mut orders: mpsc::Receiver<Order>,
    mut controls: mpsc::UnboundedReceiver<Control>,
    shared: Arc<Shared>,
) -> String
where
    W: AsyncWrite,
{
    let mut encoder = spdy::Encoder::default();
    let mut out = BytesMut::with_capacity(2 * PIECE);
    loop {
        tokio::select! {
            biased;
            Some(control) = controls.recv() => {
                // A reset must not overtake what its own stream has in the queue.
                while let Ok(order) = orders.try_recv() {
                    put_order(&mut out, &mut encoder, order);
                }
                put_control(&mut out, &control);
            }
            Some(order) = orders.recv() => put_order(&mut out, &mut encoder, order),
            else => return "closed".into(),
        }
        // What else waits goes out in the same write.
        while out.len() < PIECE
            && let Ok(order) = orders.try_recv()
        {
            put_order(&mut out, &mut encoder, order);
        }
        shared.writing.store(true, Ordering::Relaxed);
        let written = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return format!("the connection broke: {error}");
        }
        shared.writing.store(false, Ordering::Relaxed);
        out.clear();
    }
}

fn put_control(out: &mut BytesMut, control: &Control) {
    match control {
        Control::Reset(stream) => spdy::put_reset(out, *stream),
        Control::Ping(id) => spdy::put_ping(out, *id),
    }
}

fn put_order(out: &mut BytesMut, encoder: &mut spdy::Encoder, order: Order) {
    match order {
        Order::Open { error, data, what, first } => {
            // We send nothing on the error stream, and both requests and the data need no answer
            // in between: the runtime takes the frames of a stream in their order.
            match what {
                What::Port(port) => {
                    let (port, id) = (port.to_string(), error.to_string());
                    let headers =
                        |kind| [("port", port.as_str()), ("streamtype", kind), ("requestid", &id)];
                    encoder.open(out, error, true, &headers("error"));
                    encoder.open(out, data, false, &headers("data"));
                }
                What::Output => {
                    encoder.open(out, error, true, &[("streamtype", "error")]);
                    encoder.open(out, data, true, &[("streamtype", "stdout")]);
                }
            }
            put_data(out, data, &first, false);
        }
        Order::Data { stream, bytes, fin } => put_data(out, stream, &bytes, fin),
    }
}

fn put_data(out: &mut BytesMut, stream: u32, bytes: &[u8], fin: bool) {
    if bytes.is_empty() && !fin {
        return;
    }
    spdy::put_data_header(out, stream, fin, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;

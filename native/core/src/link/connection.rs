//! One upgraded connection, and the streams in it.
//!
//! Two tasks own it: one reads frames and hands them to their streams, one writes. The protocols have no
//! flow control that we could use, so a stream that is not read holds up the others when its queue is
//! full. It is reset after [`STREAM_TIMEOUT`], unless it is the only one. When either task ends, the
//! connection is closed and every stream ends.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::Instant,
};

use super::{
    PIECE, Stream,
    liveness::{Action, KEEPALIVE_INTERVAL, Liveness},
    wire::{Channels, Control, Decoder, Encoder, Form, Frame, Order, What},
};

/// Pieces that wait in a stream's queue, and in the connection's.
const QUEUE: usize = 16;
/// How long a stream with a full queue may hold up the others.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers to pings that wait to be sent. A peer that asks for more and takes none is broken.
const MAX_ANSWERS: usize = 64;

/// A handle. Dropping the last one and the last stream closes the connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    pub(super) orders: mpsc::Sender<Order>,
    controls: mpsc::UnboundedSender<Control>,
    ending: Ending,
}

struct Shared {
    form: Form,
    sinks: Mutex<HashMap<u32, Sink>>,
    /// Held while a stream is opened: ids must rise on the wire.
    next: tokio::sync::Mutex<u32>,
    /// Since when bytes of ours wait for the peer to take them.
    blocked: Mutex<Option<Instant>>,
    /// Answers that wait to be sent.
    answers: AtomicUsize,
    /// Whether the peer takes no new streams any more.
    going_away: AtomicBool,
}

/// Where the frames of a stream go. A TCP connection has two streams: its data and its error text.
#[derive(Clone)]
struct Sink {
    events: mpsc::Sender<Event>,
    is_error: bool,
    /// The two streams.
    pair: Pair,
}

#[derive(Clone, Copy)]
struct Pair {
    error: u32,
    data: u32,
}

const GOING_AWAY: &str = "the API server is closing the connection";

pub enum Event {
    Data(Bytes),
    Refused(String),
    DataEnd,
    ErrorEnd,
}

/// Why a link is closed, once it is: the first reason counts.
#[derive(Clone)]
pub struct Ending(Arc<watch::Sender<Option<String>>>);

impl Ending {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub fn end(&self, reason: String) {
        self.0.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(reason);
            first
        });
    }

    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    pub async fn wait(&self) -> String {
        let mut ended = self.0.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => String::new(), // a sender is in our hands
        }
    }
}

impl Connection {
    /// Speaks on a connection that has been upgraded to this form. It ends with the link; where it
    /// breaks, the link ends with it. Must be called on a runtime.
    pub fn new(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        form: Form,
        ending: Ending,
    ) -> Self {
        Self::start(connection, Shared::new(form), ending)
    }

    /// Speaks on a connection that has been upgraded to channels: one pair of streams, which ends with
    /// it. The server speaks right after the upgrade, and may close then, so the streams exist before
    /// anything is read.
    pub fn single(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        channels: Channels,
        ending: Ending,
        first: Bytes,
    ) -> Stream {
        let (events, incoming) = mpsc::channel(QUEUE);
        let (error, data) = (channels.error.into(), channels.data.into());
        let shared = Shared::new(Form::Channels(channels));
        shared.insert(error, data, events);
        let connection = Self::start(connection, shared, ending);
        // The queue is new, so there is room. If the connection is closed already, the stream reports it.
        let _ = connection.orders.try_send(Order::Data { stream: data, bytes: first, fin: false });
        Stream::new(connection, error, data, incoming)
    }

    fn start(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        shared: Shared,
        ending: Ending,
    ) -> Self {
        let (reader, writer) = tokio::io::split(connection);
        let (orders, orders_in) = mpsc::channel(QUEUE);
        let (controls, controls_in) = mpsc::unbounded_channel();
        let form = shared.form;
        let shared = Arc::new(shared);
        let write = write_frames(writer, orders_in, controls_in, shared.clone());
        // The reader must not keep the writer's channel open: without handles the link is done.
        let read = read_frames(reader, controls.downgrade(), shared.clone());
        let (ended, link) = (shared.clone(), ending.clone());
        let closing = ending.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                result = read => result,
                result = write => result,
                reason = closing.wait() => Err(reason),
            }
        });
        tokio::spawn(async move {
            let result = task.await.unwrap_or_else(|_| Err("the link's task is gone".into()));
            // In this order: who sees its stream end can ask for the reason.
            match (result, form) {
                // A stream's own connection, and the stream has ended.
                (Ok(()), Form::Channels(_)) => {}
                (Ok(()), _) => link.end("closed".into()),
                (Err(reason), _) => link.end(reason),
            }
            ended.lock().clear();
        });
        Self { shared, orders, controls, ending }
    }

    /// Opens a pair of streams; `first` is sent along with the request.
    pub async fn open(&self, what: What, first: Bytes) -> Result<Stream, String> {
        let (events, incoming) = mpsc::channel(QUEUE);
        if self.shared.going_away.load(Ordering::Relaxed) {
            return Err(GOING_AWAY.into());
        }
        let mut next = self.shared.next.lock().await;
        let (error, data) = (*next, *next + 2);
        *next += 4;
        self.shared.insert(error, data, events);
        // The stream exists before the order: if the order cannot be given, its drop cleans up.
        let stream = Stream::new(self.clone(), error, data, incoming);
        let order = Order::Open { error, data, what, first };
        self.orders.send(order).await.map_err(|_| self.reason())?;
        Ok(stream)
    }

    /// Forgets a pair of streams, and has the peer do so too.
    pub fn reset(&self, error: u32, data: u32) {
        let mut sinks = self.shared.lock();
        sinks.remove(&error);
        // Where the peer has ended it already the reset is not needed, and does not hurt.
        sinks.remove(&data);
        let _ = self.controls.send(Control::Reset(data));
    }

    fn reason(&self) -> String {
        self.ending.reason().unwrap_or_else(|| "the link is closing".into())
    }
}

impl Shared {
    fn new(form: Form) -> Self {
        Self {
            form,
            sinks: Mutex::default(),
            next: tokio::sync::Mutex::new(1),
            blocked: Mutex::default(),
            answers: AtomicUsize::new(0),
            going_away: AtomicBool::new(false),
        }
    }

    fn insert(&self, error: u32, data: u32, events: mpsc::Sender<Event>) {
        let (mut sinks, pair) = (self.lock(), Pair { error, data });
        sinks.insert(error, Sink { events: events.clone(), is_error: true, pair });
        sinks.insert(data, Sink { events, is_error: false, pair });
    }

    /// Whether these are the only streams.
    fn is_alone(&self, pair: Pair) -> bool {
        self.lock().keys().all(|stream| [pair.error, pair.data].contains(stream))
    }

    fn set_blocked(&self, since: Option<Instant>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn blocked(&self) -> Option<Instant> {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the peer ends the connection in good order, or it breaks.
async fn read_frames<R>(
    mut reader: ReadHalf<R>,
    controls: mpsc::WeakUnboundedSender<Control>,
    shared: Arc<Shared>,
) -> Result<(), String>
where
    R: AsyncRead,
{
    let mut input = BytesMut::with_capacity(2 * PIECE);
    let mut decoder = Decoder::new(shared.form);
    let mut liveness = Liveness::new(Instant::now());
    // One timer, which is set anew when it fires and not with each read.
    let mut timer = pin!(tokio::time::sleep(KEEPALIVE_INTERVAL));
    let mut ping = 1;
    loop {
        input.reserve(PIECE);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input) => match read {
                Ok(0) => return Err("the API server closed the connection".into()),
                Ok(_) => liveness.heard(Instant::now()),
                Err(error) => return Err(format!("the connection broke: {error}")),
            },
            () = &mut timer => {
                let now = Instant::now();
                match liveness.next(now, shared.blocked()) {
                    Action::WaitUntil(then) => timer.as_mut().reset(then),
                    Action::Ping => {
                        let Some(controls) = controls.upgrade() else { return Ok(()) };
                        let _ = controls.send(Control::Ping(ping));
                        ping += 2;
                        timer.as_mut().reset(now + KEEPALIVE_INTERVAL);
                    }
                    Action::Lost(reason) => return Err(reason),
                }
                continue;
            }
        }
        while let Some(frame) = decoder.next(&mut input)? {
            match frame {
                Frame::Data { stream, bytes, fin } => {
                    deliver(stream, bytes, fin, &controls, &shared).await;
                }
                Frame::Reset(stream) => end(stream, &shared).await,
                Frame::Answer(answer) => {
                    if shared.answers.fetch_add(1, Ordering::Relaxed) == MAX_ANSWERS {
                        return Err("the API server sends pings and takes no answers".into());
                    }
                    if let Some(controls) = controls.upgrade() {
                        let _ = controls.send(Control::Answer(answer));
                    }
                }
                Frame::GoingAway => shared.going_away.store(true, Ordering::Relaxed),
                Frame::Closed(_) if matches!(shared.form, Form::Channels(_)) => return Ok(()),
                Frame::Closed(reason) => {
                    return Err(format!("the API server closed the connection: {reason}"));
                }
                Frame::Ignored => {}
            }
        }
        if shared.going_away.load(Ordering::Relaxed) && shared.lock().is_empty() {
            return Err(GOING_AWAY.into());
        }
    }
}

async fn deliver(
    stream: u32,
    bytes: Bytes,
    fin: bool,
    controls: &mpsc::WeakUnboundedSender<Control>,
    shared: &Shared,
) {
    let Some(sink) = shared.lock().get(&stream).cloned() else { return };
    if !bytes.is_empty() {
        let event = if sink.is_error {
            Event::Refused(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            Event::Data(bytes)
        };
        // An error here means that nobody reads the stream any more; its drop has reset it.
        if let Err(TrySendError::Full(event)) = sink.events.try_send(event)
            && !wait_for_room(&sink, event, shared).await
        {
            reset(sink.pair, controls, shared);
        }
    }
    if fin {
        end(stream, shared).await;
    }
}

/// Whether the stream was read in time.
async fn wait_for_room(sink: &Sink, event: Event, shared: &Shared) -> bool {
    loop {
        match tokio::time::timeout(STREAM_TIMEOUT, sink.events.reserve()).await {
            Ok(Ok(room)) => {
                room.send(event);
                return true;
            }
            Ok(Err(_)) => return true, // nobody reads it any more
            Err(_) if shared.is_alone(sink.pair) => {}
            Err(_) => return false,
        }
    }
}

/// Ends a stream on both sides; its reader sees the end after what is in the queue.
fn reset(pair: Pair, controls: &mpsc::WeakUnboundedSender<Control>, shared: &Shared) {
    {
        let mut sinks = shared.lock();
        sinks.remove(&pair.error);
        sinks.remove(&pair.data);
    }
    if let Some(controls) = controls.upgrade() {
        let _ = controls.send(Control::Reset(pair.data));
    }
}

async fn end(stream: u32, shared: &Shared) {
    let sink = shared.lock().remove(&stream);
    if let Some(sink) = sink {
        let event = if sink.is_error { Event::ErrorEnd } else { Event::DataEnd };
        // If it is not read in time, it ends without this event.
        if let Err(TrySendError::Full(event)) = sink.events.try_send(event) {
            wait_for_room(&sink, event, shared).await;
        }
    }
}

/// Until there is no handle any more, or the connection breaks.
async fn write_frames<W>(
    mut writer: WriteHalf<W>,
    mut orders: mpsc::Receiver<Order>,
    mut controls: mpsc::UnboundedReceiver<Control>,
    shared: Arc<Shared>,
) -> Result<(), String>
where
    W: AsyncWrite,
{
    let mut encoder = Encoder::new(shared.form);
    loop {
        tokio::select! {
            biased;
            Some(control) = controls.recv() => {
                // A reset must not overtake what its own stream has in the queue.
                while let Ok(order) = orders.try_recv() {
                    encoder.order(order);
                }
                if matches!(control, Control::Answer(_)) {
                    shared.answers.fetch_sub(1, Ordering::Relaxed);
                }
                encoder.control(&control);
            }
            Some(order) = orders.recv() => encoder.order(order),
            else => return Ok(()),
        }
        // What else waits goes out in the same write.
        while encoder.len() < PIECE
            && let Ok(order) = orders.try_recv()
        {
            encoder.order(order);
        }
        shared.set_blocked(Some(Instant::now()));
        let written = async {
            writer.write_all(encoder.bytes()).await?;
            writer.flush().await
        };
        written.await.map_err(|error| format!("the connection broke: {error}"))?;
        shared.set_blocked(None);
        encoder.clear();
    }
}

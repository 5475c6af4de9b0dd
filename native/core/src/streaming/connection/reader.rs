//! The task that reads frames.

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{AsyncRead, ReadHalf},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{GOING_AWAY, Shared};
use crate::streaming::{
    ReadBuffer,
    frame::{ControlFrame, Decoder, Form, Frame},
    liveness::{Action, KEEPALIVE_INTERVAL, Liveness},
};

/// Answers to pings that wait to be sent. A peer that sends more pings and reads no answers is broken.
const MAX_ANSWERS: usize = 64;

const CLOSED: &str = "the API server closed the connection";

/// Runs until the peer closes the connection in good order, or it breaks. `suspensions` changes when the
/// machine was suspended.
pub(super) async fn read_frames<R>(
    mut reader: ReadHalf<R>,
    controls: mpsc::WeakUnboundedSender<ControlFrame>,
    shared: Arc<Shared>,
    mut suspensions: watch::Receiver<()>,
) -> Result<(), String>
where
    R: AsyncRead,
{
    let mut input = ReadBuffer::default();
    let mut decoder = Decoder::new(shared.form);
    let mut liveness = Liveness::new(Instant::now());
    // One timer, which is reset when it fires and not with each read.
    let mut timer = pin!(tokio::time::sleep(KEEPALIVE_INTERVAL));
    let mut ping = 1;
    loop {
        tokio::select! {
            biased;
            read = input.read(&mut reader) => match read {
                Ok(0) => return Err(CLOSED.into()),
                Ok(_) => liveness.heard(Instant::now()),
                Err(error) => return Err(read_failure(&error)),
            },
            Ok(()) = suspensions.changed() => {
                liveness.resumed();
                timer.as_mut().reset(Instant::now());
                continue;
            }
            () = &mut timer => {
                let now = Instant::now();
                match liveness.next(now, shared.blocked()) {
                    Action::WaitUntil(then) => timer.as_mut().reset(then),
                    Action::Ping => {
                        let Some(controls) = controls.upgrade() else { return Ok(()) };
                        let _ = controls.send(ControlFrame::Ping(ping));
                        ping += 2;
                        timer.as_mut().reset(now);
                    }
                    Action::Lost(reason) => return Err(reason),
                }
                continue;
            }
        }
        while let Some(frame) = decoder.next(&mut input.bytes)? {
            match frame {
                Frame::Data { stream, bytes, fin } => {
                    if !bytes.is_empty()
                        && let Some(pair) = shared.registry.deliver(stream, bytes).await
                    {
                        // Its reader gets what is in the queue, and then the end.
                        shared.registry.remove(pair);
                        if let Some(controls) = controls.upgrade() {
                            let _ = controls.send(ControlFrame::Reset(pair.data));
                        }
                    }
                    if fin {
                        shared.registry.end(stream).await;
                    }
                }
                Frame::Reset(stream) => shared.registry.end(stream).await,
                Frame::Ping(answer) => {
                    if shared.answers.fetch_add(1, Ordering::Relaxed) == MAX_ANSWERS {
                        return Err("the API server sends pings and takes no answers".into());
                    }
                    if let Some(controls) = controls.upgrade() {
                        let _ = controls.send(ControlFrame::Pong(answer));
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
        if shared.going_away.load(Ordering::Relaxed) && shared.registry.is_empty() {
            return Err(GOING_AWAY.into());
        }
    }
}

/// An API server that is killed, and many a proxy, closes the connection without TLS's `close_notify`.
fn read_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CLOSED.into(),
        _ => format!("the connection broke: {error}"),
    }
}

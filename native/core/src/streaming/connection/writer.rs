//! The task that writes frames.

use std::sync::{Arc, atomic::Ordering};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt, WriteHalf},
    sync::mpsc,
    time::Instant,
};

use super::Shared;
use crate::streaming::{
    CHUNK_SIZE,
    frame::{Command, ControlFrame, Encoder},
};

/// Runs until there is no handle any more, or the connection breaks.
pub(super) async fn write_frames<W>(
    mut writer: WriteHalf<W>,
    mut commands: mpsc::Receiver<Command>,
    mut controls: mpsc::UnboundedReceiver<ControlFrame>,
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
                while let Ok(command) = commands.try_recv() {
                    encoder.command(command);
                }
                if matches!(control, ControlFrame::Pong(_)) {
                    shared.answers.fetch_sub(1, Ordering::Relaxed);
                }
                encoder.control(&control);
            }
            Some(command) = commands.recv() => encoder.command(command),
            else => return Ok(()),
        }
        // The same write sends everything that waits.
        while encoder.len() < CHUNK_SIZE
            && let Ok(command) = commands.try_recv()
        {
            encoder.command(command);
        }
        shared.set_blocked(Some(Instant::now()));
        let written = async {
            writer.write_all_buf(&mut encoder.chunks()).await?;
            writer.flush().await
        };
        written.await.map_err(|error| format!("the connection broke: {error}"))?;
        shared.set_blocked(None);
        encoder.clear();
    }
}

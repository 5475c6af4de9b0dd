//! One command in a container, and what it prints: the `exec` subresource, which has the same two
//! streams as a port-forward has for a connection, by other names.
//!
//! The protocol: `v4.channel.k8s.io`, k8s.io/kubelet/pkg/cri/streaming/remotecommand; in a WebSocket
//! `v5.channel.k8s.io` is the same but for the end of what we do not send.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::{
    Protocol, Refused, Stream,
    connection::{Connection, Ending},
    protocol::{self, Got, Wanted},
    wire::{Channels, Form, What},
};
use crate::cluster::{self, Cluster};

/// What is asked for has a few lines; a container that prints without end is not listened to.
const MAX_OUTPUT: usize = 64 * 1024;

/// Why there is no output.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server said no.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The command could not be run, or failed.
    #[error("{0}")]
    Failed(String),
}

/// Runs a command and gives its output.
///
/// # Errors
/// [`Error`]; a command that ends with another status than 0 has failed.
pub async fn output(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    command: &[&str],
    protocol: Protocol,
) -> Result<Bytes, Error> {
    let mut stream = run(cluster, pod, query(container, command), protocol).await?;
    let (mut output, mut status) = (BytesMut::new(), String::new());
    let read = async {
        loop {
            match stream.read().await {
                Ok(Some(bytes)) if output.len() + bytes.len() <= MAX_OUTPUT => {
                    output.extend_from_slice(&bytes);
                }
                Ok(Some(_)) => return Err(Error::Failed("it printed too much".into())),
                // The status says how it ended, and comes after all output, in pieces as it likes.
                Err(Refused(piece)) if status.len() + piece.len() <= MAX_OUTPUT => {
                    status += &piece;
                    if is_success(&status) {
                        return Ok(());
                    }
                }
                Ok(None) if status.is_empty() => {
                    return Err(Error::Failed("it ended without a status".into()));
                }
                Err(Refused(_)) | Ok(None) => return Err(Error::Failed(message(&status))),
            }
        }
    };
    cluster.within(read).await??;
    Ok(output.freeze())
}

async fn run(
    cluster: &Cluster,
    pod: &str,
    query: String,
    protocol: Protocol,
) -> Result<Stream, Error> {
    let wanted = Wanted {
        pod,
        subresource: "exec",
        resource: "pods/exec",
        query,
        spdy: "v4.channel.k8s.io",
        websocket: "v5.channel.k8s.io, v4.channel.k8s.io",
    };
    let (got, _why) = protocol::upgrade(cluster, &wanted, protocol).await?;
    match got {
        Got::Spdy(upgraded) => {
            let connection = Connection::new(upgraded, Form::Spdy, Ending::new());
            connection.open(What::Output, Bytes::new()).await.map_err(Error::Failed)
        }
        Got::WebSocket(upgraded, _) => {
            Ok(Connection::single(upgraded, Channels::OUTPUT, Ending::new(), Bytes::new()))
        }
    }
}

fn query(container: &str, command: &[&str]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("container", container).append_pair("stdout", "true");
    for word in command {
        query.append_pair("command", word);
    }
    query.finish()
}

fn is_success(status: &str) -> bool {
    status.contains(r#""status":"Success""#)
}

/// The words of a `Status`, or the text itself where it is none.
fn message(status: &str) -> String {
    serde_json::from_str::<serde_json::Value>(status)
        .ok()
        .and_then(|status| Some(status.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| status.into())
}

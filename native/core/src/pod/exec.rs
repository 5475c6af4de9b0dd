//! Runs a command in a container: the `exec` subresource. Its two streams are the standard output and the
//! status.
//!
//! The protocol: `v4.channel.k8s.io`, k8s.io/kubelet/pkg/cri/streaming/remotecommand. In a WebSocket
//! `v5.channel.k8s.io` differs only in the end of standard input, which we do not send.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::{
    access::cluster::{self, Cluster},
    streaming::{
        CloseReason, Protocol, Refused, Stream,
        connection::Connection,
        frame::{Channels, Form, Purpose},
        negotiation::{Negotiated, Subresource, negotiate},
    },
    text::printable,
};

/// The expected output has a few lines. A container may print without end.
const MAX_OUTPUT: usize = 64 * 1024;
/// Of the message of a status.
const MAX_MESSAGE: usize = 1000;

/// Why there is no output.
#[derive(Debug, Error)]
pub enum Error {
    /// The request to the API server failed.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The command could not be run, or failed.
    #[error("{0}")]
    Failed(String),
}

/// Runs a command and returns its output.
///
/// # Errors
/// [`Error`]. A command with another exit code than 0 has failed.
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
                // The status comes after all output, in any number of pieces.
                Err(Refused::Runtime(piece)) if status.len() + piece.len() <= MAX_OUTPUT => {
                    status += &piece;
                    if is_success(&status) {
                        return Ok(());
                    }
                }
                Ok(None) if status.is_empty() => {
                    return Err(Error::Failed("it ended without a status".into()));
                }
                Err(_) | Ok(None) => return Err(Error::Failed(message(&status))),
            }
        }
    };
    cluster.within_timeout(read).await??;
    Ok(output.freeze())
}

async fn run(
    cluster: &Cluster,
    pod: &str,
    query: String,
    protocol: Protocol,
) -> Result<Stream, Error> {
    let request = Subresource {
        pod,
        name: "exec",
        resource: "pods/exec",
        query,
        spdy: "v4.channel.k8s.io",
        websocket: "v5.channel.k8s.io, v4.channel.k8s.io",
        remember: false,
    };
    let (negotiated, _spdy_refusal) = negotiate(cluster, &request, protocol).await?;
    match negotiated {
        Negotiated::Spdy(upgraded) => {
            let connection = Connection::new(upgraded, Form::Spdy, CloseReason::new());
            connection.open(Purpose::Output, Bytes::new()).await.map_err(Error::Failed)
        }
        Negotiated::WebSocket(upgraded, _) => {
            Ok(Connection::single(upgraded, Channels::OUTPUT, CloseReason::new(), Bytes::new()))
        }
    }
}

fn query(container: &str, command: &[&str]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("container", container).append_pair("stdout", "true");
    for argument in command {
        query.append_pair("command", argument);
    }
    query.finish()
}

fn is_success(status: &str) -> bool {
    status.contains(r#""status":"Success""#)
}

/// The message of a `Status`, or the text itself where it is none.
fn message(status: &str) -> String {
    serde_json::from_str::<serde_json::Value>(status)
        .ok()
        .and_then(|status| Some(status.get("message")?.as_str()?.to_owned()))
        .map_or_else(|| printable(status, MAX_MESSAGE), |message| printable(&message, MAX_MESSAGE))
}

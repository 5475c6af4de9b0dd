//! One command in a container, and what it prints: the `exec` subresource, which has the same two
//! streams as a port-forward has for a connection, by other names.
//!
//! The protocol: `v4.channel.k8s.io`, k8s.io/kubelet/pkg/cri/streaming/remotecommand.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::{Refused, upgrade};
use crate::cluster::{self, Action, Cluster};

const ACTION: Action = Action { verb: "create", resource: "pods/exec" };
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
) -> Result<Bytes, Error> {
    let resource = format!("exec?{}", query(container, command));
    let link = upgrade::to(cluster, ACTION, pod, &resource, "v4.channel.k8s.io").await?;
    let mut stream = link.open_output().await.map_err(Error::Failed)?;
    let mut output = BytesMut::new();
    let read = async {
        loop {
            match stream.read().await {
                Ok(Some(bytes)) if output.len() + bytes.len() <= MAX_OUTPUT => {
                    output.extend_from_slice(&bytes);
                }
                Ok(Some(_)) => return Err(Error::Failed("it printed too much".into())),
                // The status says how it ended, and comes after all output.
                Err(Refused(status)) if is_success(&status) => return Ok(()),
                Err(Refused(status)) => return Err(Error::Failed(message(&status))),
                Ok(None) => return Err(Error::Failed("it ended without a status".into())),
            }
        }
    };
    cluster.within(read).await??;
    Ok(output.freeze())
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

//! TLS on a stream. The caller reads and writes plain data, and a task encrypts it.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use rustls::{AlertDescription, ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::sync::mpsc;

use super::{
    frame::Command,
    registry::Event,
    stream::{Refused, Stream},
};
use crate::{
    access::tls::{Refusal, refusal},
    text::printable,
};

/// Chunks in each direction between the caller and the task.
const QUEUE: usize = 16;
/// Of the reason why a handshake failed.
const MAX_REASON: usize = 300;

/// What to do with the plain data of each direction.
pub(crate) struct Filters {
    pub to_pod: Filter,
    pub from_pod: Filter,
}

pub(crate) type Filter = Box<dyn FnMut(Bytes) -> Bytes + Send>;

/// A stream of plain data over `stream`. A failed handshake shows when it is read, as [`Refused::Tls`].
pub(crate) fn client(
    stream: Stream,
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
    mut filters: Filters,
    first: Bytes,
) -> Result<Stream, rustls::Error> {
    let mut tls = ClientConnection::new(config, server)?;
    // The queue of commands is the limit.
    tls.set_buffer_limit(None);
    // Sent after the handshake.
    let _ = tls.writer().write_all(&(filters.to_pod)(first));
    let (commands, queue) = mpsc::channel(QUEUE);
    let (events, incoming) = mpsc::channel(QUEUE);
    tokio::spawn(run(tls, stream, filters, queue, events));
    Ok(Stream::decrypted(commands, incoming))
}

/// Ends when the stream has been read to its end, or when the caller drops its side.
async fn run(
    mut tls: ClientConnection,
    mut stream: Stream,
    mut filters: Filters,
    mut queue: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let writer = stream.writer();
    let mut writable = true;
    loop {
        // After a failed write, what has arrived is still decrypted.
        if writable {
            writable = tokio::select! {
                // A pod that reads nothing must not keep the stream open.
                () = events.closed() => return,
                flushed = flush(&mut tls, &writer) => flushed,
            };
            if !writable {
                queue.close();
            }
        }
        let received = tokio::select! {
            () = events.closed() => return,
            received = stream.read() => received,
            command = queue.recv(), if writable && !tls.is_handshaking() => match command {
                Some(Command::Data { bytes, .. }) => {
                    let _ = tls.writer().write_all(&(filters.to_pod)(bytes));
                    continue;
                }
                Some(Command::Open { .. }) => continue,
                None => {
                    tls.send_close_notify();
                    flush(&mut tls, &writer).await;
                    return;
                }
            },
        };
        let event = match received {
            Ok(Some(bytes)) => match decrypt(&mut tls, &bytes) {
                Ok(plain) => match (filters.from_pod)(plain.into()) {
                    plain if plain.is_empty() => continue,
                    plain => Event::Data(plain),
                },
                Err(error) => {
                    // The node logs the alert.
                    flush(&mut tls, &writer).await;
                    Event::TlsFailed(describe(&error))
                }
            },
            Ok(None) if tls.is_handshaking() => {
                Event::TlsFailed("the node closed the connection during the handshake".into())
            }
            Ok(None) => Event::DataEnd,
            Err(Refused::Runtime(text) | Refused::Tls(text)) => Event::Refused(text),
        };
        let last = !matches!(event, Event::Data(_));
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

/// Sends what the connection has to send. `false` if the stream is closed.
async fn flush(tls: &mut ClientConnection, writer: &super::StreamWriter) -> bool {
    while tls.wants_write() {
        let mut records = Vec::new();
        if tls.write_tls(&mut records).is_err() || !writer.write(records.into()).await {
            return false;
        }
    }
    true
}

/// Why the handshake failed, in a few words: rustls also writes what no person reads, such as object identifiers. The
/// certificate is the pod's, and may have thousands of names.
pub(crate) fn describe(error: &rustls::Error) -> String {
    let text = match (refusal(error), error) {
        (Some(Refusal::WrongName { expected, names }), _) => {
            format!("the node's certificate is for {names}, not for {expected}")
        }
        (Some(refusal), _) => refusal.to_string(),
        (None, rustls::Error::AlertReceived(alert)) => describe_alert(*alert),
        (None, error) => {
            let text = error.to_string();
            format!("TLS: {}", text.split(['{', '[']).next().unwrap_or_default().trim())
        }
    };
    printable(&text, MAX_REASON)
}

fn describe_alert(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => "it requires a certificate of its peer".into(),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => format!("it rejects our certificate (alert {alert:?})"),
        // OTP's answer in TLS 1.2 to a peer without a certificate
        Alert::HandshakeFailure => {
            "it accepts no handshake of ours: it may require a certificate of its peer".into()
        }
        other => format!("it ends the handshake (alert {other:?})"),
    }
}

fn decrypt(tls: &mut ClientConnection, mut records: &[u8]) -> Result<Vec<u8>, rustls::Error> {
    let mut plain = Vec::new();
    while !records.is_empty() {
        let failed = |error: io::Error| rustls::Error::General(error.to_string());
        tls.read_tls(&mut records).map_err(failed)?;
        let state = tls.process_new_packets()?;
        let start = plain.len();
        plain.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut plain[start..]).map_err(failed)?;
    }
    Ok(plain)
}

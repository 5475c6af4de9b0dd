//! The HTTP requests that turn a connection to the API server into one to a pod: a POST for SPDY, a GET
//! for a WebSocket. Neither needs the pod to have been read first.

use std::{error::Error as StdError, fmt, io};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Limited};
use hyper_util::{client::legacy, rt::TokioIo};
use kube::{client::Body, core::Status};

use super::websocket;
use crate::cluster::Cluster;

/// A connection after its upgrade.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// The body of an answer that is no upgrade: a Status, or a page for people.
const MAX_BODY: usize = 64 * 1024;
/// What of it is told.
const MAX_MESSAGE: usize = 1000;
const MAX_TEXT: usize = 200;

/// This form of upgrade is not taken, and another may be.
#[derive(Debug, Clone)]
pub enum No {
    /// The API server says that the Role has not got the verb.
    Forbidden(String),
    /// The answer is none to an upgrade, and none of an API server that has understood it.
    Refused(String),
    /// The connection was closed instead of an answer.
    Closed,
}

impl fmt::Display for No {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Forbidden(message) => write!(to, "403 {message}"),
            Self::Refused(answer) => to.write_str(answer),
            Self::Closed => to.write_str("no answer, the connection was closed"),
        }
    }
}

/// Asks for SPDY, and the protocol above it.
pub async fn spdy(
    cluster: &Cluster,
    path: &str,
    protocol: &str,
) -> kube::Result<Result<Upgraded, No>> {
    let request = http::Request::post(path)
        .header(header::UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", protocol)
        .header(header::CONTENT_LENGTH, 0);
    match send(cluster, request).await? {
        Ok(response) => Ok(Ok(upgraded(response).await?)),
        Err(no) => Ok(Err(no)),
    }
}

/// Asks for a WebSocket, and one of the protocols above it: which one is the server's choice.
pub async fn websocket(
    cluster: &Cluster,
    path: &str,
    protocols: &str,
) -> kube::Result<Result<(Upgraded, String), No>> {
    let key = websocket::key();
    let request = http::Request::get(path)
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, 13)
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    let response = match send(cluster, request).await? {
        Ok(response) => response,
        Err(no) => return Ok(Err(no)),
    };
    match chosen(response.headers(), &key, protocols) {
        Ok(protocol) => Ok(Ok((upgraded(response).await?, protocol))),
        Err(problem) => Ok(Err(No::Refused(format!("101, {problem}")))),
    }
}

fn chosen(headers: &HeaderMap, key: &str, offered: &str) -> Result<String, &'static str> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value(header::SEC_WEBSOCKET_ACCEPT) != websocket::accept(key) {
        return Err("without the right Sec-WebSocket-Accept");
    }
    let protocol = value(header::SEC_WEBSOCKET_PROTOCOL);
    let known = offered.split(", ").find(|offered| *offered == protocol);
    known.map(ToOwned::to_owned).ok_or("without a Sec-WebSocket-Protocol that was offered")
}

async fn upgraded(mut response: Response<Body>) -> kube::Result<Upgraded> {
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(kube::Error::HyperError)?;
    Ok(TokioIo::new(upgraded))
}

/// Gives the answer that says yes; what says no may be an error for good.
async fn send(
    cluster: &Cluster,
    request: request::Builder,
) -> kube::Result<Result<Response<Body>, No>> {
    let request = request
        .header(header::CONNECTION, "Upgrade")
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    match cluster.client.send(request).await {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(Ok(response)),
        Ok(response) => refusal(response).await,
        Err(error) if is_closed(&error) => Ok(Err(No::Closed)),
        Err(error) => Err(error),
    }
}

/// Whether the request was sent, and the connection closed instead of an answer.
fn is_closed(error: &kube::Error) -> bool {
    let kube::Error::Service(error) = error else { return false };
    let mut next: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(error) = next {
        next = error.source();
        if let Some(error) = error.downcast_ref::<legacy::Error>()
            && error.is_connect()
        {
            return false;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_incomplete_message()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind as Kind;
            return matches!(
                error.kind(),
                Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof
            );
        }
    }
    false
}

/// `Client::send` leaves the answer as it is; its other calls would have read the Status.
async fn refusal(response: Response<Body>) -> kube::Result<Result<Response<Body>, No>> {
    let code = response.status();
    let body = read(response).await;
    let status = status(&body);
    match refused(code, status.as_deref(), &body) {
        Some(no) => Ok(Err(no)),
        None => Err(failure(code, status, &body)),
    }
}

/// The failure that an answer is which was not hoped for.
pub(crate) async fn failed(response: Response<Body>) -> kube::Error {
    let code = response.status();
    let body = read(response).await;
    failure(code, status(&body), &body)
}

async fn read(response: Response<Body>) -> Bytes {
    match Limited::new(response.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    }
}

fn failure(code: StatusCode, status: Option<String>, body: &[u8]) -> kube::Error {
    let message = status.unwrap_or_else(|| text(body));
    kube::Error::Api(Box::new(
        Status::failure(&message, code.canonical_reason().unwrap_or_default())
            .with_code(code.as_u16()),
    ))
}

/// The message of a body that only an API server gives.
fn status(body: &[u8]) -> Option<String> {
    let status = serde_json::from_slice::<serde_json::Value>(body).ok()?;
    let message = status.get("message").and_then(|message| message.as_str());
    (status.get("kind")?.as_str()? == "Status")
        .then(|| shown(message.unwrap_or_default(), MAX_MESSAGE))
}

/// `None` where an API server has understood what was wanted, and has its reason.
fn refused(code: StatusCode, status: Option<&str>, body: &[u8]) -> Option<No> {
    let answer = |message: &str| No::Refused(format!("{code} {message}").trim_end().to_owned());
    match (code.as_u16(), status) {
        (403, Some(message)) => Some(No::Forbidden(message.into())),
        // The method or the protocol is not known there, or the header that asks for it has got lost.
        (405 | 426 | 501, message) => Some(answer(message.unwrap_or_default())),
        (400, Some(message)) if message.contains("Upgrade request required") => {
            Some(answer(message))
        }
        (401 | 429, _) | (_, Some(_)) => None,
        (_, None) => Some(answer(&text(body))),
    }
}

/// The words of a body for people. Pages have none that the code does not say; and what shows the
/// request's headers, as the kubelet's words do, may show a token.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default();
    let line = line.split("http.Header").next().unwrap_or_default().trim_end_matches([' ', ':']);
    let lower = line.to_lowercase();
    if line.starts_with('<') || lower.contains("authorization") || lower.contains("bearer") {
        return String::new();
    }
    shown(line, MAX_TEXT)
}

/// What is shown on a terminal must not steer it.
fn shown(text: &str, length: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(length).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn judge(code: u16, body: &str) -> Option<String> {
        let code = StatusCode::from_u16(code).unwrap();
        let status = status(body.as_bytes());
        refused(code, status.as_deref(), body.as_bytes()).map(|no| no.to_string())
    }

    fn of_api(message: &str) -> String {
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "message": message}).to_string()
    }

    #[test]
    fn what_an_api_server_says_is_the_last_word() {
        for (code, message) in [
            (404, "pods \"x\" not found"),
            (400, "pod x does not have a host assigned"),
            (401, "Unauthorized"),
            (429, "too many requests"),
            (500, "etcd"),
            (503, "shutting down"),
        ] {
            assert_eq!(judge(code, &of_api(message)), None);
        }
        assert_eq!(judge(401, "<html>"), None);
        assert_eq!(judge(429, ""), None);
    }

    #[test]
    fn what_is_said_by_others_is_not() {
        let page = "<html>\r\n<head><title>403 Forbidden</title></head>";
        for (code, body, expected) in [
            (403, page, "403 Forbidden"),
            (403, "upgrade_failed\n", "403 Forbidden upgrade_failed"),
            (403, r#"{"message":"Forbidden"}"#, r#"403 Forbidden {"message":"Forbidden"}"#),
            (400, "Upgrade request required", "400 Bad Request Upgrade request required"),
            (404, page, "404 Not Found"),
            (502, page, "502 Bad Gateway"),
            (503, "", "503 Service Unavailable"),
            (200, "ok", "200 OK ok"),
            (405, "", "405 Method Not Allowed"),
        ] {
            assert_eq!(judge(code, body).as_deref(), Some(expected));
        }
        let headers = "missing in request: http.Header{\"Authorization\": \"Bearer secret\"}";
        assert_eq!(judge(400, headers).as_deref(), Some("400 Bad Request missing in request"));
        assert_eq!(judge(400, "you sent: Bearer secret").as_deref(), Some("400 Bad Request"));
        assert_eq!(judge(403, "\x1b[2Jno\x07").as_deref(), Some("403 Forbidden [2Jno"));
        let long = "x".repeat(100_000);
        assert!(judge(500, &long).unwrap().len() < 300);
    }

    #[test]
    fn an_api_server_can_say_that_the_upgrade_did_not_arrive_or_that_the_verb_is_missing() {
        assert_eq!(
            judge(400, &of_api("Upgrade request required")).as_deref(),
            Some("400 Bad Request Upgrade request required")
        );
        assert_eq!(judge(403, &of_api("no")).as_deref(), Some("403 no"));
        assert!(judge(405, &of_api("method")).is_some());
    }

    #[test]
    fn a_server_that_speaks_something_else_is_not_taken_for_a_web_socket() {
        let headers = |accept: &str, protocol: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse().unwrap());
            headers
        };
        let accept = websocket::accept("key");
        assert_eq!(chosen(&headers(&accept, "b"), "key", "a, b").unwrap(), "b");
        assert!(chosen(&headers(&accept, "c"), "key", "a, b").is_err());
        assert!(chosen(&headers("x", "b"), "key", "a, b").is_err());
        assert!(chosen(&HeaderMap::new(), "key", "a, b").is_err());
    }
}

//! The HTTP requests that upgrade a connection to the API server: a POST for SPDY, a GET for a WebSocket.
//! Neither needs the pod to have been read first.

use std::fmt;

use http::{HeaderMap, Response, StatusCode, header, request};
use hyper_util::rt::TokioIo;
use kube::client::Body;

use super::websocket;
use crate::access::cluster::{Cluster, Failure, closed_without_answer};

/// A connection after its upgrade.
pub(crate) type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// This kind of upgrade was refused. The other one may be accepted.
#[derive(Debug, Clone)]
pub(super) enum UpgradeRefused {
    /// The Role lacks the verb.
    Forbidden(String),
    /// The answer is not an upgrade, and not from an API server that understood the request.
    Answer(String),
    /// The connection was closed without an answer.
    Closed,
}

impl fmt::Display for UpgradeRefused {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Forbidden(message) => write!(to, "403 {message}"),
            Self::Answer(answer) => to.write_str(answer),
            Self::Closed => to.write_str("no answer, the connection was closed"),
        }
    }
}

/// Requests SPDY, with a protocol on top of it.
pub(super) async fn spdy(
    cluster: &Cluster,
    path: &str,
    protocol: &str,
) -> kube::Result<Result<Upgraded, UpgradeRefused>> {
    let request = http::Request::post(path)
        .header(header::UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", protocol)
        .header(header::CONTENT_LENGTH, 0);
    match send(cluster, request).await? {
        Ok(response) => Ok(Ok(upgraded(response).await?)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Requests a WebSocket, with one of these protocols on top of it. The server chooses.
pub(super) async fn websocket(
    cluster: &Cluster,
    path: &str,
    protocols: &str,
) -> kube::Result<Result<(Upgraded, String), UpgradeRefused>> {
    let key = websocket::key();
    let request = http::Request::get(path)
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, 13)
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    let response = match send(cluster, request).await? {
        Ok(response) => response,
        Err(refused) => return Ok(Err(refused)),
    };
    match chosen(response.headers(), &key, protocols) {
        Ok(protocol) => Ok(Ok((upgraded(response).await?, protocol))),
        Err(problem) => Ok(Err(UpgradeRefused::Answer(format!("101, {problem}")))),
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

/// The answer that accepts the upgrade. Any other answer is a refusal, or an error.
async fn send(
    cluster: &Cluster,
    request: request::Builder,
) -> kube::Result<Result<Response<Body>, UpgradeRefused>> {
    let request = request
        .header(header::CONNECTION, "Upgrade")
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    match cluster.client.send(request).await {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(Ok(response)),
        Ok(response) => refusal(response).await,
        Err(kube::Error::Service(error)) if closed_without_answer(error.as_ref()) => {
            Ok(Err(UpgradeRefused::Closed))
        }
        Err(error) => Err(error),
    }
}

async fn refusal(response: Response<Body>) -> kube::Result<Result<Response<Body>, UpgradeRefused>> {
    let failure = Failure::read(response).await;
    match refused(&failure) {
        Some(refused) => Ok(Err(refused)),
        None => Err(failure.into()),
    }
}

/// `None` where an API server understood the request, and has another reason.
fn refused(failure: &Failure) -> Option<UpgradeRefused> {
    let code = failure.code;
    let answer =
        |message: &str| UpgradeRefused::Answer(format!("{code} {message}").trim_end().to_owned());
    match (code.as_u16(), failure.status.as_deref()) {
        (403, Some(message)) => Some(UpgradeRefused::Forbidden(message.into())),
        // The method or the protocol is unknown there, or a proxy removed the header.
        (405 | 426 | 501, message) => Some(answer(message.unwrap_or_default())),
        (400, Some(message)) if message.contains("Upgrade request required") => {
            Some(answer(message))
        }
        (401 | 429, _) | (_, Some(_)) => None,
        (_, None) => Some(answer(&failure.text)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refusal_text(code: u16, body: &str) -> Option<String> {
        let code = StatusCode::from_u16(code).unwrap();
        refused(&Failure::new(code, body.as_bytes())).map(|refused| refused.to_string())
    }

    fn api_status(message: &str) -> String {
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "message": message}).to_string()
    }

    #[test]
    fn the_status_of_an_api_server_is_final() {
        for (code, message) in [
            (404, "pods \"x\" not found"),
            (400, "pod x does not have a host assigned"),
            (401, "Unauthorized"),
            (429, "too many requests"),
            (500, "etcd"),
            (503, "shutting down"),
        ] {
            assert_eq!(refusal_text(code, &api_status(message)), None);
        }
        assert_eq!(refusal_text(401, "<html>"), None);
        assert_eq!(refusal_text(429, ""), None);
    }

    #[test]
    fn the_answer_of_a_proxy_is_not_final() {
        let page = "<html>\r\n<head><title>403 Forbidden</title></head>";
        for (code, body, expected) in [
            (403, page, "403 Forbidden"),
            (403, "upgrade_failed\n", "403 Forbidden upgrade_failed"),
            (403, r#"{"message":"No access"}"#, "403 Forbidden No access"),
            (400, "Upgrade request required", "400 Bad Request Upgrade request required"),
            (404, page, "404 Not Found"),
            (502, page, "502 Bad Gateway"),
            (503, "", "503 Service Unavailable"),
            (200, "ok", "200 OK ok"),
            (405, "", "405 Method Not Allowed"),
        ] {
            assert_eq!(refusal_text(code, body).as_deref(), Some(expected));
        }
        let headers = "missing in request: http.Header{\"Authorization\": \"Bearer secret\"}";
        assert_eq!(
            refusal_text(400, headers).as_deref(),
            Some("400 Bad Request missing in request")
        );
        assert_eq!(
            refusal_text(400, "you sent: Bearer secret").as_deref(),
            Some("400 Bad Request")
        );
        assert_eq!(refusal_text(403, "\x1b[2Jno\x07").as_deref(), Some("403 Forbidden [2Jno"));
        let long = "x".repeat(100_000);
        assert!(refusal_text(500, &long).unwrap().len() < 300);
    }

    #[test]
    fn an_api_server_may_report_a_lost_upgrade_header_or_a_missing_verb() {
        assert_eq!(
            refusal_text(400, &api_status("Upgrade request required")).as_deref(),
            Some("400 Bad Request Upgrade request required")
        );
        assert_eq!(refusal_text(403, &api_status("no")).as_deref(), Some("403 no"));
        assert!(refusal_text(405, &api_status("method")).is_some());
    }

    #[test]
    fn a_server_that_speaks_another_protocol_is_not_accepted_as_a_web_socket() {
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

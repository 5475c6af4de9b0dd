//! An answer that is not a success: a Status of the API server, or a page of a gateway ahead of it.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Incoming};
use kube::core::Status;
use serde_json::Value;
use tower::BoxError;

use crate::text::printable;

const MAX_BODY: usize = 64 * 1024;
/// Of the message of a Status.
const MAX_MESSAGE: usize = 1000;
/// Of any other body.
const MAX_TEXT: usize = 200;

/// The body of an answer: the server's, or one in its place.
pub(super) type Answer = Either<Incoming, Full<Bytes>>;

/// What such an answer has.
pub(crate) struct Failure {
    pub code: StatusCode,
    /// The message of a Status, which only an API server sends.
    pub status: Option<String>,
    /// Any other body, as a short text without secrets.
    pub text: String,
}

impl Failure {
    pub async fn read<B: Body<Data = Bytes, Error: Into<BoxError>>>(answer: Response<B>) -> Self {
        let code = answer.status();
        let body = match Limited::new(answer.into_body(), MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        Self::new(code, &body)
    }

    pub fn new(code: StatusCode, body: &[u8]) -> Self {
        Self { code, status: status(body), text: text(body) }
    }

    fn into_status(self) -> Status {
        let message = self.status.unwrap_or(self.text);
        Status::failure(&message, self.code.canonical_reason().unwrap_or_default())
            .with_code(self.code.as_u16())
    }
}

impl From<Failure> for kube::Error {
    fn from(failure: Failure) -> Self {
        Self::Api(Box::new(failure.into_status()))
    }
}

/// A 404 that says nothing about an object, because no API server has sent it.
#[derive(Debug)]
pub(super) struct NotKubernetes(String);

impl fmt::Display for NotKubernetes {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for NotKubernetes {}

/// An answer for kube, which takes any JSON for a Status, and the code from there. A gateway's JSON has no
/// code, or one of its own.
///
/// # Errors
/// [`NotKubernetes`]
pub(super) async fn with_status(
    answer: Response<Incoming>,
) -> Result<Response<Answer>, NotKubernetes> {
    let code = answer.status();
    if !code.is_client_error() && !code.is_server_error() {
        return Ok(answer.map(Either::Left));
    }
    let failure = Failure::read(answer).await;
    // The API server has this text for an API group that it does not have.
    let unknown_path = failure.text == "404 page not found";
    if code == StatusCode::NOT_FOUND && failure.status.is_none() && !unknown_path {
        return Err(NotKubernetes(format!("{code} {}", failure.text).trim_end().into()));
    }
    let mut status = serde_json::to_value(failure.into_status()).unwrap_or_default();
    // kube's Status does not have it.
    status["kind"] = "Status".into();
    let mut answer = Response::new(Either::Right(status.to_string().into()));
    *answer.status_mut() = code;
    Ok(answer)
}

fn status(body: &[u8]) -> Option<String> {
    let status = serde_json::from_slice::<Value>(body).ok()?;
    (status.get("kind")?.as_str()? == "Status").then(|| message(&status).unwrap_or_default())
}

fn message(object: &Value) -> Option<String> {
    let message = object.get("message")?.as_str()?;
    Some(printable(&message.replace(['\r', '\n'], " "), MAX_MESSAGE))
}

/// The text of a body. An HTML page says no more than the code does. A text with the headers of the request,
/// as the kubelet sends, may have a token.
fn text(body: &[u8]) -> String {
    let message = serde_json::from_slice(body).ok().and_then(|object| message(&object));
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let line = text.trim().lines().next().unwrap_or_default();
    let line = line.split("http.Header").next().unwrap_or_default().trim_end_matches([' ', ':']);
    let lower = line.to_lowercase();
    // A JSON Web Token begins with eyJ.
    let secret = ["authorization", "bearer", "cookie", "id_token", "eyj"];
    if line.starts_with('<') || secret.iter().any(|word| lower.contains(word)) {
        return String::new();
    }
    printable(line, MAX_TEXT)
}

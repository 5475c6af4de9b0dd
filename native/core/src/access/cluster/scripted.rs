//! The API server, as a test plays it: it takes each request and answers it. There is no socket, so tests can
//! use tokio's paused time.
#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tower::BoxError;

use super::Cluster;
use crate::access::kubeconfig::ClientConfig;

/// For the server at this URL, in the namespace `default`.
pub(crate) fn config(url: &str) -> ClientConfig {
    ClientConfig::of_server(url.parse().unwrap())
}

type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The server's side.
pub(crate) struct ApiServer(mpsc::UnboundedReceiver<ApiRequest>);

/// A request that waits for its answer.
pub(crate) struct ApiRequest {
    /// The path and the query, percent-decoded.
    pub target: String,
    answer: oneshot::Sender<Response<AnswerBody>>,
}

/// An answer whose body is sent in pieces. Dropping it ends the body.
pub(crate) struct ApiStream(mpsc::UnboundedSender<Bytes>);

/// A server, and a client for it.
pub(crate) fn api_server() -> (Cluster, ApiServer) {
    let (requests, incoming) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let requests = requests.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let target = request.uri().path_and_query().unwrap().as_str();
            let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy().into();
            // A server that is gone answers nothing.
            let _ = requests.send(ApiRequest { target, answer });
            answered.await.map_err(BoxError::from)
        }
    });
    let mut cluster = Cluster::new(config("http://api.invalid"), Duration::from_secs(10)).unwrap();
    cluster.client = kube::Client::new(service, "default");
    (cluster, ApiServer(incoming))
}

impl ApiServer {
    /// The next request.
    pub async fn request(&mut self) -> ApiRequest {
        self.0.recv().await.unwrap()
    }

    /// Whether every request has been taken.
    pub fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}

impl ApiRequest {
    /// Answers with an object.
    pub fn answer(self, object: &Value) {
        self.respond(200, Full::from(object.to_string()).boxed_unsync());
    }

    /// Answers with a failure.
    pub fn fail(self, code: u16) {
        self.respond(code, Full::from(status(code).to_string()).boxed_unsync());
    }

    /// Answers with a stream of objects.
    pub fn stream(self) -> ApiStream {
        let (pieces, incoming) = mpsc::unbounded_channel::<Bytes>();
        let frames = futures_util::stream::unfold(incoming, |mut incoming| async {
            let piece = incoming.recv().await?;
            Some((Ok(Frame::data(piece)), incoming))
        });
        self.respond(200, StreamBody::new(frames).boxed_unsync());
        ApiStream(pieces)
    }

    fn respond(self, code: u16, body: AnswerBody) {
        let response = Response::builder().status(code).body(body).unwrap();
        // Whoever asked may be gone.
        let _ = self.answer.send(response);
    }
}

impl ApiStream {
    /// Sends one object.
    pub fn send(&self, object: &Value) {
        self.0.send(format!("{object}\n").into()).unwrap();
    }
}

/// A failure, as the API server describes it.
pub(crate) fn status(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("failure {code}"), "reason": "Test", "code": code,
    })
}

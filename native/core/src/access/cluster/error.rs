use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::access::{
    auth::{self, milliseconds},
    proxy,
};

/// Why a request to the API server failed.
#[derive(Debug, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// No connection: refused, no route, name not found.
    #[error("cannot reach {server}: {problem}")]
    Unreachable {
        /// The server's URL.
        server: String,
        /// The error of the operating system.
        problem: String,
    },
    /// No answer in time.
    #[error("no answer from {server} in {timeout:?}")]
    TimedOut {
        /// The server's URL.
        server: String,
        /// The time limit.
        #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
        timeout: Duration,
    },
    /// The server's certificate is not signed by an authority that the kubeconfig trusts.
    #[error("{server} shows a certificate of an unknown authority")]
    UnknownAuthority {
        /// The server's URL.
        server: String,
    },
    /// TLS failed in another way.
    #[error("TLS with {server} failed: {problem}")]
    Tls {
        /// The server's URL.
        server: String,
        /// The error of the TLS library.
        problem: String,
    },
    /// The server rejects the credentials, and the client certificate has expired.
    #[error("the client certificate ran out at {not_after}")]
    ClientCertificateExpired {
        /// The context of the user.
        context: String,
        /// End of validity, UTC, as in RFC 3339.
        not_after: String,
    },
    /// The server rejects the credentials (401).
    #[error("{server} does not take the credentials")]
    Unauthorized {
        /// The context of the user.
        context: String,
        /// The server's URL.
        server: String,
    },
    /// The server wants credentials (401), and has no TLS to send the user's over.
    #[error("{server} wants credentials, and none were sent without TLS")]
    CredentialsWithheld {
        /// The context of the user.
        context: String,
        /// The server's URL.
        server: String,
    },
    /// The user has no permission (403).
    #[error("forbidden: {message}")]
    Forbidden {
        /// The verb, as a Role names it.
        verb: &'static str,
        /// The resource, as a Role names it.
        resource: &'static str,
        /// The namespace of the request.
        namespace: String,
        /// The message of the server.
        message: String,
    },
    /// The server answered with another HTTP error.
    #[error("{server} answered {code}: {message}")]
    Refused {
        /// The server's URL.
        server: String,
        /// The HTTP status.
        code: u16,
        /// The message of the server.
        message: String,
    },
    /// The user has neither of the verbs that the two kinds of upgrade need (403).
    #[error("forbidden to create and to get {resource}: {message}")]
    ForbiddenGetAndCreate {
        /// The resource, as a Role names it.
        resource: &'static str,
        /// The namespace of the request.
        namespace: String,
        /// The message of the server, on `create`.
        message: String,
    },
    /// No kind of upgrade to a streaming connection was accepted.
    #[error("no connection to pod {pod} through {server}: {}", answers.join(", "))]
    NoUpgrade {
        /// The server's URL.
        server: String,
        /// The pod.
        pod: String,
        /// The namespace of the pod.
        namespace: String,
        /// Each request, and its answer.
        answers: Vec<String>,
    },
    /// The answer is not from a Kubernetes API server.
    #[error("{server} does not answer like an API server: {problem}")]
    NotKubernetes {
        /// The server's URL.
        server: String,
        /// The unexpected answer.
        problem: String,
    },
    /// No answer in time, through a proxy.
    #[error("no answer from {server} through {proxy} in {timeout:?}")]
    ProxyTimedOut {
        /// The server's URL.
        server: String,
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// The time limit.
        #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
        timeout: Duration,
    },
    /// The server's certificate is not valid yet, by this machine's clock.
    #[error("the certificate of {server} is valid from {not_before}, and it is {now}")]
    ServerCertificateNotYetValid {
        /// The server's URL.
        server: String,
        /// Beginning of validity, as in RFC 3339.
        not_before: String,
        /// This machine's clock.
        now: String,
    },
    /// The server's certificate has expired, by this machine's clock.
    #[error("the certificate of {server} was valid until {not_after}, and it is {now}")]
    ServerCertificateExpired {
        /// The server's URL.
        server: String,
        /// End of validity, as in RFC 3339.
        not_after: String,
        /// This machine's clock.
        now: String,
    },
    /// The connection was closed before an answer.
    #[error("{server} hung up: {problem}")]
    ConnectionClosed {
        /// The server's URL.
        server: String,
        /// The unexpected answer.
        problem: String,
    },
    /// The server is overloaded (429), for longer than a request may take.
    #[error("{server} has too many requests: {message}")]
    TooManyRequests {
        /// The server's URL.
        server: String,
        /// The message of the server.
        message: String,
    },
    /// The user could not be authenticated.
    #[error(transparent)]
    #[serde(untagged)]
    Login(#[from] auth::Error),
    /// The connection through the proxy failed.
    #[error(transparent)]
    #[serde(untagged)]
    Proxy(#[from] proxy::Error),
}

use std::time::Duration;

use thiserror::Error;

use crate::{auth, proxy};

/// Why the API server gave no answer, or not the one that was hoped for.
#[derive(Debug, Error)]
pub enum Error {
    /// No connection: refused, no route, name not found.
    #[error("cannot reach {server}: {problem}")]
    Unreachable {
        /// The server's URL.
        server: String,
        /// What the operating system said.
        problem: String,
    },
    /// Nothing came back in time.
    #[error("no answer from {server} in {timeout:?}")]
    TimedOut {
        /// The server's URL.
        server: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The server's certificate was not signed by an authority that the kubeconfig trusts.
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
        /// What the TLS library said.
        problem: String,
    },
    /// The server does not take the credentials, and the client certificate has run out.
    #[error("the client certificate ran out at {not_after}")]
    ClientCertificateExpired {
        /// The context whose user it is.
        context: String,
        /// End of validity, UTC, as in RFC 3339.
        not_after: String,
    },
    /// The server does not take the credentials (401).
    #[error("{server} does not take the credentials")]
    Unauthorized {
        /// The context whose user it is.
        context: String,
        /// The server's URL.
        server: String,
    },
    /// The server knows the user and says no (403).
    #[error("forbidden: {message}")]
    Forbidden {
        /// What was tried, as a Role would name it.
        verb: &'static str,
        /// The resource, as a Role would name it.
        resource: &'static str,
        /// The namespace it was tried in.
        namespace: String,
        /// The server's own words.
        message: String,
    },
    /// The server answered with another error.
    #[error("{server} answered {code}: {message}")]
    Refused {
        /// The server's URL.
        server: String,
        /// The HTTP status.
        code: u16,
        /// The server's own words.
        message: String,
    },
    /// The server says that the user has neither of the verbs that the two ways to ask need (403).
    #[error("forbidden to create and to get {resource}: {message}")]
    ForbiddenBothWays {
        /// The resource, as a Role would name it.
        resource: &'static str,
        /// The namespace it was tried in.
        namespace: String,
        /// The server's own words, on `create`.
        message: String,
    },
    /// Nothing that a connection to a pod can be made of is let through.
    #[error("no connection to pod {pod} through {server}: {}", answers.join(", "))]
    NoUpgrade {
        /// The server's URL.
        server: String,
        /// The pod.
        pod: String,
        /// The namespace it is in.
        namespace: String,
        /// What was asked for, and what was answered.
        answers: Vec<String>,
    },
    /// The answer is not one that a Kubernetes API server gives.
    #[error("{server} does not answer like an API server: {problem}")]
    NotKubernetes {
        /// The server's URL.
        server: String,
        /// What was seen.
        problem: String,
    },
    /// The user could not be logged in.
    #[error(transparent)]
    Login(#[from] auth::Error),
    /// There was no way through the proxy.
    #[error(transparent)]
    Proxy(#[from] proxy::Error),
    /// Nothing came back in time, and there is a proxy on the way.
    #[error("no answer from {server} through {proxy} in {timeout:?}")]
    TimedOutByProxy {
        /// The server's URL.
        server: String,
        /// The proxy's host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// How long was waited.
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
    /// The server's certificate is not valid any more, by this machine's clock.
    #[error("the certificate of {server} was valid until {not_after}, and it is {now}")]
    ServerCertificateExpired {
        /// The server's URL.
        server: String,
        /// End of validity, as in RFC 3339.
        not_after: String,
        /// This machine's clock.
        now: String,
    },
    /// The connection was made, and closed before there was an answer.
    #[error("{server} hung up: {problem}")]
    HungUp {
        /// The server's URL.
        server: String,
        /// What was seen.
        problem: String,
    },
    /// The server has too much to do (429), for longer than a request may take.
    #[error("{server} has too many requests: {message}")]
    TooManyRequests {
        /// The server's URL.
        server: String,
        /// The server's own words.
        message: String,
    },
}

//! One API server, as one user: the client, and what its failures mean.

use std::{error::Error as StdError, io, time::Duration};

use http_body_util::BodyExt;
use kube::{Client, core::Status};
use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

use crate::config::{self, Access};

mod certificate;
mod connector;

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
}

/// An API request, in the words of a Role: `list` on `pods`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub verb: &'static str,
    pub resource: &'static str,
}

/// An API server and the user we are to it.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    access: Access,
    timeout: Duration,
}

impl Cluster {
    /// Prepares the client; nothing is sent yet. `timeout` bounds each later request as a whole.
    ///
    /// # Errors
    /// [`config::Error`] where certificates, keys or proxies of the kubeconfig cannot be used.
    pub fn new(access: Access, timeout: Duration) -> Result<Self, config::Error> {
        let client =
            connector::client(&access.config).map_err(|error| unusable(error, &access.context))?;
        Ok(Self { client, access, timeout })
    }

    /// As [`Cluster::new`], on the connections of another one where both have the same user and
    /// server: a request may then go out without waiting for TCP and TLS.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn beside(
        other: Option<&Self>,
        access: Access,
        timeout: Duration,
    ) -> Result<Self, config::Error> {
        match other {
            Some(other) if other.is_at(&access) => {
                Ok(Self { client: other.client.clone(), access, timeout })
            }
            _ => Self::new(access, timeout),
        }
    }

    /// Leaves two idle connections behind, for the two requests that a next attach begins with.
    /// Their answers do not matter.
    pub async fn warm_up(&self) {
        let ask = || async {
            let request = http::Request::get("/version").body(kube::client::Body::empty());
            if let Ok(request) = request
                && let Ok(answer) = self.client.send(request).await
            {
                let _ = answer.into_body().collect().await;
            }
        };
        let _ = tokio::time::timeout(self.timeout, async { tokio::join!(ask(), ask()) }).await;
    }

    /// Whether this is the server, as the user, that the access leads to.
    #[must_use]
    pub fn is_at(&self, access: &Access) -> bool {
        access.fingerprint.is_some() && self.access.fingerprint == access.fingerprint
    }

    pub(crate) fn fingerprint(&self) -> Option<config::Fingerprint> {
        self.access.fingerprint
    }

    /// The context's name.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.access.context
    }

    /// The namespace that the kubeconfig or the caller chose.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.access.namespace
    }

    /// Runs one API request within the time limit and says what its failure means.
    pub(crate) async fn ask<T>(
        &self,
        action: Action,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.within(request).await?.map_err(|error| self.explain(error, action))
    }

    /// Waits no longer than one request may take.
    pub(crate) async fn within<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let late = |_| Error::TimedOut { server: self.server(), timeout: self.timeout };
        tokio::time::timeout(self.timeout, answer).await.map_err(late)
    }

    /// Scheme, host and port; a URL may carry a password, and that is nobody's business.
    #[must_use]
    pub fn server(&self) -> String {
        let url = &self.access.config.cluster_url;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host_and_port = authority.rsplit('@').next().unwrap_or_default();
        format!("{}://{host_and_port}", url.scheme_str().unwrap_or("http"))
    }

    fn explain(&self, error: kube::Error, action: Action) -> Error {
        match error {
            kube::Error::Api(status) => self.explain_status(*status, action),
            kube::Error::Service(error) => self.explain_transport(error.as_ref()),
            kube::Error::HyperError(error) => self.explain_transport(&error),
            error => Error::NotKubernetes { server: self.server(), problem: error.to_string() },
        }
    }

    fn explain_status(&self, status: Status, action: Action) -> Error {
        let Status { code, message, .. } = status;
        match code {
            401 => self.explain_unauthorized(),
            403 => Error::Forbidden {
                verb: action.verb,
                resource: action.resource,
                namespace: self.access.namespace.clone(),
                message,
            },
            _ => Error::Refused { server: self.server(), code, message },
        }
    }

    /// The API server says 401 and not why; a certificate that has run out is the usual reason.
    fn explain_unauthorized(&self) -> Error {
        let context = self.access.context.clone();
        match certificate::expired(&self.access.config.auth_info) {
            Some(not_after) => Error::ClientCertificateExpired { context, not_after },
            None => Error::Unauthorized { context, server: self.server() },
        }
    }

    fn explain_transport(&self, error: &(dyn StdError + 'static)) -> Error {
        let server = self.server();
        match find_cause(error) {
            Cause::Tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Error::UnknownAuthority { server }
            }
            Cause::Tls(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)) => {
                self.explain_unauthorized()
            }
            Cause::Tls(error) => Error::Tls { server, problem: error.to_string() },
            Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Error::TimedOut { server, timeout: self.timeout }
            }
            Cause::Io(error) => Error::Unreachable { server, problem: error.to_string() },
            Cause::Other(error) => Error::Unreachable { server, problem: error.to_string() },
        }
    }
}

enum Cause<'a> {
    Tls(&'a rustls::Error),
    Io(&'a io::Error),
    Other(&'a (dyn StdError + 'static)),
}

/// The innermost error says most, and TLS errors travel wrapped in an I/O error, which hides
/// them from `source()`.
fn find_cause<'a>(error: &'a (dyn StdError + 'static)) -> Cause<'a> {
    let mut cause = Cause::Other(error);
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
            }
            cause = Cause::Io(io);
        } else if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Cause::Tls(tls);
        } else if matches!(cause, Cause::Other(_)) {
            cause = Cause::Other(error);
        }
    }
    cause
}

fn unusable(error: kube::Error, context: &str) -> config::Error {
    match error {
        kube::Error::InferKubeconfig(error) => config::explain(error, context),
        kube::Error::ProxyProtocolDisabled { .. }
        | kube::Error::ProxyProtocolUnsupported { .. } => {
            config::Error::BadCluster { context: context.into(), problem: error.to_string() }
        }
        // kube makes the identity and the trust store here; a wrong CA is found while reading it.
        error => config::Error::BadUser { context: context.into(), problem: error.to_string() },
    }
}

//! What the failures of a request mean.

use std::{error::Error as StdError, io};

use kube::core::Status;
use rustls::{AlertDescription, CertificateError};

use super::{Action, Cluster, Error, certificate};
use crate::{auth, proxy};

impl Cluster {
    pub(super) fn explain(&self, error: kube::Error, action: Action) -> Error {
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
            429 => Error::TooManyRequests { server: self.server(), message },
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
            Cause::Tls(error) => certificate::out_of_time(&server, error)
                .unwrap_or_else(|| Error::Tls { server, problem: certificate::problem(error) }),
            Cause::Login(error) => Error::Login(error.clone()),
            Cause::Proxy(error) => Error::Proxy(error.clone()),
            Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            Cause::Io(error) if hung_up(error.kind()) => {
                Error::HungUp { server, problem: error.to_string() }
            }
            Cause::Http(error) => Error::HungUp { server, problem: error.to_string() },
            Cause::Io(error) => Error::Unreachable { server, problem: error.to_string() },
            Cause::Other(error) => Error::Unreachable { server, problem: error.to_string() },
        }
    }
}

/// Ends of a connection that was there.
fn hung_up(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

enum Cause<'a> {
    Login(&'a auth::Error),
    Proxy(&'a proxy::Error),
    /// The connection ended in the middle of HTTP.
    Http(&'a hyper::Error),
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
        } else if let Some(login) = error.downcast_ref::<auth::Error>() {
            return Cause::Login(login);
        } else if let Some(proxy) = error.downcast_ref::<proxy::Error>() {
            return Cause::Proxy(proxy);
        } else if let Some(http) = error.downcast_ref::<hyper::Error>()
            && http.is_incomplete_message()
        {
            return Cause::Http(http);
        } else if matches!(cause, Cause::Other(_)) {
            cause = Cause::Other(error);
        }
    }
    cause
}

//! The causes of failed requests.

use std::{error::Error as StdError, io};

use kube::core::Status;
use rustls::AlertDescription;

use super::{Action, Cluster, Error, certificate, failure::NotKubernetes};
use crate::{
    access::{auth, proxy},
    error_chain::chain,
};

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
                namespace: self.config.namespace.clone(),
                message,
            },
            429 => Error::TooManyRequests { server: self.server(), message },
            _ => Error::Refused { server: self.server(), code, message },
        }
    }

    /// A 401 has no reason. The usual one is an expired certificate.
    fn explain_unauthorized(&self) -> Error {
        let context = self.config.context.clone();
        if self.config.credentials_withheld {
            return Error::CredentialsWithheld { context, server: self.server() };
        }
        match certificate::expired(&self.config.kube.auth_info) {
            Some(not_after) => Error::ClientCertificateExpired { context, not_after },
            None => Error::Unauthorized { context, server: self.server() },
        }
    }

    /// Whether the kubeconfig has a client certificate. A plugin's is not known here.
    fn has_certificate(&self) -> bool {
        let certificate = self.config.kube.auth_info.client_certificate_data.as_ref();
        certificate.is_some_and(|certificate| !certificate.is_empty())
    }

    fn explain_transport(&self, error: &(dyn StdError + 'static)) -> Error {
        let server = self.server();
        match find_cause(error) {
            Cause::Tls(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)) => {
                self.explain_unauthorized()
            }
            Cause::Tls(error) => certificate::explain(server, error, self.has_certificate()),
            Cause::NotKubernetes(error) => {
                Error::NotKubernetes { server, problem: error.to_string() }
            }
            Cause::Login(error) => Error::Login(error.clone()),
            Cause::Proxy(error) => Error::Proxy(error.clone()),
            Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            Cause::Io(error) if connection_closed(error.kind()) => {
                Error::ConnectionClosed { server, problem: error.to_string() }
            }
            Cause::Http(error) => Error::ConnectionClosed { server, problem: error.to_string() },
            Cause::Io(error) => Error::Unreachable { server, problem: error.to_string() },
            Cause::Other(error) => Error::Unreachable { server, problem: error.to_string() },
        }
    }
}

/// Whether an established connection ended.
fn connection_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

enum Cause<'a> {
    NotKubernetes(&'a NotKubernetes),
    Login(&'a auth::Error),
    Proxy(&'a proxy::Error),
    /// The connection ended in the middle of HTTP.
    Http(&'a hyper::Error),
    Tls(&'a rustls::Error),
    Io(&'a io::Error),
    Other(&'a (dyn StdError + 'static)),
}

/// The first error that says enough, or else the innermost I/O error, or else the innermost error.
fn find_cause<'a>(error: &'a (dyn StdError + 'static)) -> Cause<'a> {
    let mut cause = Cause::Other(error);
    for error in chain(error) {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            cause = Cause::Io(io);
        } else if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Cause::Tls(tls);
        } else if let Some(answer) = error.downcast_ref::<NotKubernetes>() {
            return Cause::NotKubernetes(answer);
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

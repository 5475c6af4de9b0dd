//! Inside of a pod, without a kubeconfig: its service account, as Kubernetes mounts it.
//! <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>

use std::{net::Ipv6Addr, path::Path};

use http::Uri;

use super::{Error, LoginMethod, Source, config::Found};
use crate::access::{environment::Environment, files, tls};

/// Takes the place of a context's name.
pub(crate) const CONTEXT: &str = "in-cluster";

/// The pod's service account; `None` outside of a pod.
pub(super) async fn find(source: &Source) -> Option<Result<Found, Error>> {
    let server = server(&source.environment)?;
    let directory = source.service_account.as_ref()?;
    let token = directory.join("token");
    let exists = files::blocking(move || Ok(token.exists())).await.unwrap_or(false);
    if exists { Some(service_account(server, directory).await) } else { None }
}

/// As `client-go`, by the variables that every container has.
fn server(environment: &Environment) -> Option<Uri> {
    let host = environment.get("KUBERNETES_SERVICE_HOST")?;
    let port = environment.get("KUBERNETES_SERVICE_PORT")?;
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.into(),
    };
    format!("https://{host}:{port}").parse().ok()
}

async fn service_account(server: Uri, directory: &Path) -> Result<Found, Error> {
    let bad = |problem: String| Error::InvalidServiceAccount {
        directory: directory.into(),
        problem: format!("ca.crt: {problem}"),
    };
    let (authority, token) = (directory.join("ca.crt"), directory.join("token"));
    let pem = files::read(&authority).await.map_err(|error| bad(error.to_string()))?;
    let certificates = tls::certificates(&pem);
    if certificates.is_empty() {
        return Err(bad("it has no PEM block CERTIFICATE".into()));
    }
    let mut config = kube::Config::new(server);
    config.root_cert = Some(certificates);
    // The kubelet replaces both files from time to time, so they are read again.
    config.root_cert_file = Some(authority);
    if let Ok(namespace) = files::read_to_string(&directory.join("namespace")).await {
        namespace.trim().clone_into(&mut config.default_namespace);
    }
    let login = LoginMethod::TokenFile { path: token, token: None };
    Ok(Found {
        context: CONTEXT.into(),
        kube: config,
        login,
        credentials_withheld: false,
        proxy: None,
    })
}

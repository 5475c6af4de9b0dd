//! Inside of a pod, without a kubeconfig: its service account, as Kubernetes mounts it.
//! <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>

use std::{fs, net::Ipv6Addr, path::Path};

use http::Uri;
use kube::config::AuthInfo;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{Error, Found, Source};
use crate::environment::Environment;

/// Takes the place of a context's name.
pub(crate) const CONTEXT: &str = "in-cluster";

/// The pod's service account; `None` outside of one.
pub(super) fn find(source: &Source) -> Option<Result<Found, Error>> {
    let server = server(&source.environment)?;
    let folder = source.service_account.as_ref()?;
    folder.join("token").exists().then(|| account(server, folder))
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

fn account(server: Uri, folder: &Path) -> Result<Found, Error> {
    let bad = |name: &str, problem: String| Error::BadServiceAccount {
        folder: folder.into(),
        problem: format!("{name}: {problem}"),
    };
    let (authority, token) = (folder.join("ca.crt"), folder.join("token"));
    let pem = fs::read(&authority).map_err(|error| bad("ca.crt", error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| bad("ca.crt", error.to_string()))?;
    let mut config = kube::Config::new(server);
    config.root_cert = Some(certificates);
    // Both files are replaced from time to time, and read again.
    config.root_cert_file = Some(authority);
    let token_file = token.to_str().map(str::to_owned);
    config.auth_info = AuthInfo { token_file, ..AuthInfo::default() };
    if let Ok(namespace) = fs::read_to_string(folder.join("namespace")) {
        namespace.trim().clone_into(&mut config.default_namespace);
    }
    Ok(Found { context: CONTEXT.into(), config, proxy: None })
}

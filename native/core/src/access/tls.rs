//! TLS as kubectl speaks it: the servers, authorities and client certificates that Go accepts are accepted,
//! and no others. rustls does the handshake; which certificates are good is decided here.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use rustls::{
    ClientConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
};
use secrecy::ExposeSecret;
use thiserror::Error;

mod certificate;
mod chain;
mod constraints;
mod der;
mod identity;
mod key;
mod key_exchange;
mod names;
mod peer;
mod pem;
mod policies;
mod problem;
mod refusal;
mod signature;
mod time;
mod verifier;

use certificate::Certificate;
use chain::Authorities;
use identity::Identity;
pub(crate) use peer::{Trust, client_identity, signatures, verify_name};
pub(crate) use pem::certificates;
pub(crate) use problem::{cause, problem, refusal};
pub(crate) use refusal::{Refusal, time};
pub(crate) use verifier::refused;
use verifier::{ReloadedFile, Verifier};

/// Why TLS cannot be set up from a kubeconfig.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The fault is in the cluster's entry.
    #[error("{0}")]
    Cluster(String),
    /// The fault is in the user's entry.
    #[error("{0}")]
    User(String),
}

/// A connector for HTTPS and HTTP over connections of another one.
///
/// # Errors
/// Where an authority, the client certificate, its key or the server name cannot be used.
pub(crate) fn connector<H>(config: &kube::Config, over: H) -> Result<HttpsConnector<H>, Error> {
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(client_config(config)?).https_or_http();
    let builder = match config.tls_server_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            builder.with_server_name_resolver(FixedServerNameResolver::new(server_name(name)?))
        }
        None => {
            builder.with_server_name_resolver(hyper_rustls::DefaultServerNameResolver::default())
        }
    };
    Ok(builder.enable_http1().wrap_connector(over))
}

fn client_config(config: &kube::Config) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Cluster(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(config)?));
    let mut client = match identity(config)? {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        None => builder.with_no_client_auth(),
    };
    // A resumed session would not verify the certificate again. client-go resumes none, either.
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// ring, and a curve that ring lacks.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.kx_groups.push(&key_exchange::P521);
    Arc::new(provider)
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    // An IPv6 address may be in brackets, as in a URL.
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        Error::Cluster("invalid tls-server-name: neither a host name nor an IP address".into())
    })
}

fn verifier(config: &kube::Config) -> Result<Verifier, Error> {
    if config.accept_invalid_certs {
        return match &config.root_cert {
            Some(_) => Err(Error::Cluster(
                "insecure-skip-tls-verify and a certificate authority exclude each other, as in kubectl".into(),
            )),
            None => Ok(Verifier::Everybody),
        };
    }
    let Some(certificates) = &config.root_cert else { return Ok(system()) };
    let authorities = Authorities::new(certificates.iter().cloned());
    if authorities.is_empty() {
        let problem = match certificates.len() {
            0 => "the certificate authority has no PEM block CERTIFICATE",
            _ => "the certificate authority has no valid certificate",
        };
        return Err(Error::Cluster(problem.into()));
    }
    Ok(match &config.root_cert_file {
        Some(path) => Verifier::File(ReloadedFile::new(path.clone(), authorities)),
        None => Verifier::Authorities(authorities),
    })
}

/// The authorities that this machine trusts.
fn system() -> Verifier {
    let found = rustls_native_certs::load_native_certs();
    let authorities = Authorities::new(found.certs.into_iter().map(|der| der.to_vec()));
    if authorities.is_empty() {
        let problem = found.errors.first().map(ToString::to_string);
        return Verifier::Nobody(problem.unwrap_or_else(|| "none found".into()));
    }
    Verifier::Authorities(authorities)
}

/// The client certificate of the user. A key alone is ignored, as kubectl does.
fn identity(config: &kube::Config) -> Result<Option<Identity>, Error> {
    let user = &config.auth_info;
    let data = user.client_certificate_data.as_deref().filter(|data| !data.is_empty());
    let Some(certificate) = data else { return Ok(None) };
    let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    let Some(key) = key.filter(|data| !data.is_empty()) else {
        return Err(Error::User("it has a client certificate, but no client key".into()));
    };
    let decode = |name: &str, data: &str| {
        let data: String = data.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        BASE64_STANDARD.decode(data).map_err(|_| Error::User(format!("{name} is not base64")))
    };
    let certificate = decode("client-certificate-data", certificate)?;
    let key = decode("client-key-data", key)?;
    Identity::new(&certificate, &key).map(Some).map_err(Error::User)
}

/// The end of validity of the first certificate, in seconds of Unix time.
pub(crate) fn not_after(pem: &[u8]) -> Option<i64> {
    let first = pem::certificates(pem).into_iter().next()?;
    Some(Certificate::parse(&first).ok()?.not_after)
}

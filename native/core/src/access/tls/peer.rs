//! The same rules for a server that is in no kubeconfig, and whose name is known later than its certificate: a node
//! whose distribution is over TLS.

use std::sync::Arc;

use rustls::{
    client::{ResolvesClientCert, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    certificate::Certificate,
    chain::{self, Authorities},
    identity::Identity,
    pem,
    refusal::Refusal,
    verifier::Verifier,
};

/// The authorities of a node's certificate.
#[derive(Debug)]
pub(crate) struct Trust(Authorities);

impl Trust {
    /// # Errors
    /// Why the text has no authority.
    pub fn new(text: &[u8]) -> Result<Self, &'static str> {
        let certificates = pem::certificates(text);
        if certificates.is_empty() {
            return Err("the authority has no PEM block CERTIFICATE");
        }
        let authorities = Authorities::new(certificates);
        if authorities.is_empty() {
            return Err("the authority has no valid certificate");
        }
        Ok(Self(authorities))
    }

    /// Whether a chain leads from the first certificate to an authority, whatever the name of the server is.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        &self,
        own: &[u8],
        others: &[CertificateDer],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let (leaf, others) = chain::parse(own, others.iter().map(AsRef::as_ref))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        chain::verify(&self.0, &leaf, &others, None, now)
    }
}

/// Whether a certificate is for a server of this name.
///
/// # Errors
/// Why not.
pub(crate) fn verify_name(own: &[u8], server: &ServerName) -> Result<(), Refusal> {
    let certificate = Certificate::parse(own).map_err(Refusal::Malformed)?;
    chain::verify_name(&certificate, server)
}

/// Verifies the signatures of handshakes, and no certificate.
pub(crate) fn signatures() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::Everybody)
}

/// A certificate with its chain and its key, in PEM.
///
/// # Errors
/// What is wrong with them. The sentence does not quote them.
pub(crate) fn client_identity(
    certificate: &[u8],
    key: &[u8],
) -> Result<Arc<dyn ResolvesClientCert>, String> {
    Ok(Arc::new(Identity::new(certificate, key)?))
}

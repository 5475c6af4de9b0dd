//! The client certificate and its key, as Go's `tls.X509KeyPair` reads them. The client does not verify its
//! own certificate, so one of version 1 is as good as any; rustls's own loader refuses it.

use std::sync::Arc;

use rustls::{
    SignatureScheme, client::ResolvesClientCert, pki_types::CertificateDer, sign::CertifiedKey,
};

use super::{certificate::Certificate, key, pem};

/// What the client shows if a server asks for a certificate, whatever authorities the server names.
#[derive(Debug)]
pub(super) struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// # Errors
    /// A sentence about the certificate or the key, which does not quote them.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = pem::blocks(certificate).into_iter();
        let chain = chain.filter(|block| block.label == "CERTIFICATE");
        let chain: Vec<_> = chain.map(|block| CertificateDer::from(block.contents)).collect();
        let own = chain.first().ok_or("the client certificate has no PEM block CERTIFICATE")?;
        let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
        let key = pem::blocks(key).into_iter().find(|block| is_key(&block.label));
        let key = key.ok_or("the client key has no PEM block PRIVATE KEY")?;
        let parsed = Certificate::parse(own)
            .map_err(|problem| format!("invalid client certificate: {problem}"))?;
        // OpenSSL's older form has headers, and Go does not look at them.
        let is_encrypted = key.label == "ENCRYPTED PRIVATE KEY" || key.has_headers;
        let key = key::load(&key.contents, &parsed.key).map_err(|problem| {
            if is_encrypted { "unsupported client key: it is encrypted" } else { problem }
        })?;
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

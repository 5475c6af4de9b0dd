//! TLS to a node whose distribution is over TLS (`-proto_dist inet_tls`). What forwards and probes sees plain data.
//!
//! <https://www.erlang.org/doc/apps/ssl/ssl_distribution.html>

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio::sync::watch;

use crate::{
    access::tls::{self as access, Trust},
    streaming::{Stream, tls},
};

mod framing;

use framing::Framing;

/// Sent to nobody: without a name in the certificate request, the node chooses its only certificate.
const NO_NAME: &str = "k8s-connect.invalid";

/// The files of the user, in PEM.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The authorities of the node's certificate.
    pub authority: Vec<u8>,
    /// Our certificate, with its chain, and its key, for a node that asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// The TLS client for one node.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<NodeVerifier>,
}

impl Tls {
    /// The client with these files.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn new(files: &Files) -> Result<Self, String> {
        let provider = access::provider();
        let verifier = Arc::new(NodeVerifier::new(&files.authority, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_cert_resolver(access::client_identity(certificate, key)?)
            }
        };
        config.enable_sni = false;
        // A resumed session would not verify the certificate again, for the host that is known by then.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), verifier })
    }

    /// Plain data over an encrypted stream.
    pub(super) fn start(&self, stream: Stream, first: Bytes) -> Result<Stream, String> {
        let name = ServerName::try_from(NO_NAME).map_err(|error| error.to_string())?;
        let (mut to_pod, mut from_pod) = (Framing::to_pod(), Framing::from_pod());
        let filters = tls::Filters {
            to_pod: Box::new(move |bytes| to_pod.pass(bytes)),
            from_pod: Box::new(move |bytes| from_pod.pass(bytes)),
        };
        tls::client(stream, self.config.clone(), name, filters, first)
            .map_err(|error| error.to_string())
    }

    /// Whether the certificate of the node is for the host of its name, which only the handshake inside of TLS has. Later
    /// connections have to be for the same host.
    ///
    /// # Errors
    /// Why not.
    pub fn confirm(&self, host: &str) -> Result<(), String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is no host that a certificate can be for"))?;
        let mut state = self.verifier.lock();
        if let Some(certificate) = &state.certificate {
            let reason = |refusal| tls::describe(&access::refused(refusal));
            access::verify_name(certificate, &name).map_err(reason)?;
        }
        state.host = Some(name);
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

/// Whether connections to the node are encrypted. That can be known later than the port-forward connection is open.
#[derive(Clone)]
pub struct NodeTls(Arc<watch::Sender<State>>);

enum State {
    Known(Option<Tls>),
    /// The files are being read.
    Pending,
}

impl NodeTls {
    /// With a client, or without TLS.
    #[must_use]
    pub fn new(tls: Option<Tls>) -> Self {
        Self(Arc::new(watch::Sender::new(State::Known(tls))))
    }

    /// New connections wait for [`NodeTls::set`].
    pub fn expect(&self) {
        self.0.send_replace(State::Pending);
    }

    /// For new connections.
    pub fn set(&self, tls: Option<Tls>) {
        self.0.send_replace(State::Known(tls));
    }

    /// The client, if it is known.
    #[must_use]
    pub fn get(&self) -> Option<Tls> {
        match &*self.0.borrow() {
            State::Known(tls) => tls.clone(),
            State::Pending => None,
        }
    }

    /// The client, as soon as it is known.
    pub(super) async fn wait(&self) -> Option<Tls> {
        let mut receiver = self.0.subscribe();
        let known = receiver.wait_for(|state| matches!(state, State::Known(_))).await;
        match known.ok().as_deref() {
            Some(State::Known(tls)) => tls.clone(),
            _ => None,
        }
    }
}

impl Default for NodeTls {
    fn default() -> Self {
        Self::new(None)
    }
}

/// Verifies the certificate of a node, and the host as soon as it is known.
#[derive(Debug)]
struct NodeVerifier {
    trust: Trust,
    /// The same authorities as OTP sees them.
    anchors: RootCertStore,
    signatures: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
    state: Mutex<Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    certificate: Option<CertificateDer<'static>>,
    host: Option<ServerName<'static>>,
}

impl NodeVerifier {
    fn new(authority: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let trust = Trust::new(authority)?;
        let mut anchors = RootCertStore::empty();
        let certificates = access::certificates(authority).into_iter().map(CertificateDer::from);
        anchors.add_parsable_certificates(certificates);
        let (signatures, provider) = (access::signatures(), provider.clone());
        Ok(Self { trust, anchors, signatures, provider, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Peer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a chain leads to an authority by the rules of Go, or else by those of OTP, which takes nothing from an
    /// authority but its name and its key.
    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Err(refusal) = self.trust.verify(end_entity, intermediates, now) else { return Ok(()) };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let by_anchor = ParsedCertificate::try_from(end_entity).and_then(|certificate| {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.anchors,
                intermediates,
                now,
                algorithms,
            )
        });
        by_anchor.map_err(|_| access::refused(refusal))
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _no_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify_chain(end_entity, intermediates, now)?;
        let mut state = self.lock();
        if let Some(host) = &state.host {
            access::verify_name(end_entity, host).map_err(access::refused)?;
        }
        state.certificate = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;

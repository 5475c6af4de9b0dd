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
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio::sync::watch;

use crate::{
    streaming::{Stream, tls},
    text::printable,
};

mod framing;

use framing::Framing;

/// Sent to nobody: without a name in the certificate request, the node chooses its only certificate.
const NO_NAME: &str = "k8s-connect.invalid";
/// Of the reason why a certificate is refused.
const MAX_REASON: usize = 300;

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
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(NodeVerifier::new(&files.authority, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("the certificate", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| "the key has no PEM block of a private key")?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("the certificate and its key: {error}"))?
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
            // The certificate comes from the pod, and may have thousands of names.
            let reason = |error| printable(&tls::describe(&error), MAX_REASON);
            check_name(certificate, &name).map_err(reason)?;
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
    roots: Arc<RootCertStore>,
    signatures: Arc<WebPkiServerVerifier>,
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
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the authority", authority)? {
            roots.add(certificate).map_err(|error| format!("the authority: {error}"))?;
        }
        let roots = Arc::new(roots);
        let signatures =
            WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|error| format!("the authority: {error}"))?;
        let (provider, state) = (provider.clone(), Mutex::default());
        Ok(Self { roots, signatures, provider, state })
    }

    fn lock(&self) -> MutexGuard<'_, Peer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let mut state = self.lock();
        if let Some(host) = &state.host {
            verify_server_name(&certificate, host)?;
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

fn check_name(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{what} has no PEM block CERTIFICATE")),
    }
}

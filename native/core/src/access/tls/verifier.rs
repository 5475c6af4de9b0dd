//! rustls asks it about the server's certificates.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    certificate::Certificate,
    chain::{self, Authorities},
    pem,
    refusal::Refusal,
    signature::{Algorithm, Curve, Failure, Hash, PublicKey},
};

/// How old the authorities of a file may be. The kubelet replaces those of a service account.
const RELOAD_INTERVAL: Duration = Duration::from_mins(1);

/// What Go offers, in its order. Nothing with SHA-1.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];

/// Which servers are trusted.
#[derive(Debug)]
pub(super) enum Verifier {
    /// Those with a certificate of these authorities.
    Authorities(Authorities),
    /// As before, with the authorities of a file that is read again.
    File(ReloadedFile),
    /// None, with the reason that this machine has no authorities.
    Nobody(String),
    /// All: `insecure-skip-tls-verify`. Their handshakes must be right all the same.
    Everybody,
}

impl Verifier {
    fn verify(
        &self,
        own: &[u8],
        others: &[CertificateDer],
        server: &ServerName,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let (leaf, others) = chain::parse(own, others.iter().map(AsRef::as_ref))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match self {
            Self::Everybody => Ok(()),
            Self::Nobody(problem) => Err(Refusal::NoAuthorities(problem.clone())),
            Self::Authorities(trusted) => chain::verify(trusted, &leaf, &others, Some(server), now),
            Self::File(file) => chain::verify(&file.current(), &leaf, &others, Some(server), now),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer,
        intermediates: &[CertificateDer],
        server_name: &ServerName,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, server_name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(refused)
    }

    /// Up to TLS 1.2 any curve goes with any hash.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, |_, _| true)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, |algorithm, key| match (algorithm, key) {
            (Algorithm::RsaPkcs1(_), _) => false,
            (Algorithm::Ecdsa(hash), PublicKey::Ec(curve, _)) => matches!(
                (curve, hash),
                (Curve::P256, Hash::Sha256)
                    | (Curve::P384, Hash::Sha384)
                    | (Curve::P521, Hash::Sha512)
            ),
            _ => true,
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.into()
    }
}

/// The refusal of a certificate, for rustls.
pub(crate) fn refused(refusal: Refusal) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}

fn verify_handshake(
    message: &[u8],
    certificate: &CertificateDer,
    signed: &DigitallySignedStruct,
    goes_with: impl Fn(Algorithm, PublicKey) -> bool,
) -> Result<HandshakeSignatureValid, Error> {
    let invalid = |error| Err(Error::InvalidCertificate(error));
    let Ok(certificate) = Certificate::parse(certificate) else {
        return invalid(CertificateError::BadEncoding);
    };
    let algorithm = Algorithm::from_scheme(signed.scheme);
    if !goes_with(algorithm, certificate.key) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    match certificate.key.verify(algorithm, message, signed.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(Failure::RsaSize { bits, max }) => {
            let refusal = Refusal::RsaSize { certificate: certificate.subject_text(), bits, max };
            Err(refused(refusal))
        }
        Err(Failure::Unsupported | Failure::Insecure(_)) => {
            Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
        }
        Err(Failure::Invalid) => invalid(CertificateError::BadSignature),
    }
}

/// The authorities of a file. If it cannot be read again, those of the last time stay.
#[derive(Debug)]
pub(super) struct ReloadedFile {
    path: PathBuf,
    last: RwLock<(Arc<Authorities>, Instant)>,
}

impl ReloadedFile {
    pub fn new(path: PathBuf, first: Authorities) -> Self {
        Self { path, last: RwLock::new((Arc::new(first), Instant::now())) }
    }

    fn current(&self) -> Arc<Authorities> {
        {
            let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
            if last.1.elapsed() < RELOAD_INTERVAL {
                return last.0.clone();
            }
        }
        self.reload()
    }

    fn reload(&self) -> Arc<Authorities> {
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(text) = fs::read(&self.path) {
            let authorities = Authorities::new(pem::certificates(&text));
            if !authorities.is_empty() {
                last.0 = Arc::new(authorities);
            }
        }
        last.1 = Instant::now();
        last.0.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// openssl req -x509 -newkey ed25519 -nodes -days 36500 -subj /CN=one -addext keyUsage=critical,keyCertSign
    const ONE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBQjCB9aADAgECAhRq4B4AteBclWs8UbFuw1WyfHfk5DAFBgMrZXAwDjEMMAoG
A1UEAwwDb25lMCAXDTI2MTEyNjIyNTgyN1oYDzIxMjYxMTAyMjI1ODI3WjAOMQww
CgYDVQQDDANvbmUwKjAFBgMrZXADIQAVxsW6MfiEQr8KkpV2m4DYJ0Y/9Dy09LnM
pLiVGhMOuaNjMGEwHQYDVR0OBBYEFPC3P5BAMkXNObk6Xj3lV1ZS52l4MB8GA1Ud
IwQYMBaAFPC3P5BAMkXNObk6Xj3lV1ZS52l4MA8GA1UdEwEB/wQFMAMBAf8wDgYD
VR0PAQH/BAQDAgIEMAUGAytlcANBAA31k+4iCWtZwPFtNC/PtziO8tgPhCxoZeND
FNoe1bVyAUmqMI19pCTcMITCKy+HIBllgLmRda4ADkTekRKxYAQ=
-----END CERTIFICATE-----
";
    const TWO: &str = "\
-----BEGIN CERTIFICATE-----
MIIBQjCB9aADAgECAhR1ZFE1GeXyY29z9Lx6YExt+hn/gDAFBgMrZXAwDjEMMAoG
A1UEAwwDdHdvMCAXDTI2MTEyNjIyNTgyN1oYDzIxMjYxMTAyMjI1ODI3WjAOMQww
CgYDVQQDDAN0d28wKjAFBgMrZXADIQBPLzbo8tCt0FJRcior+FjNYwbWjlgsVC/W
qb/4CpGASqNjMGEwHQYDVR0OBBYEFITUVNVSBn0pbOuxDEHjaUNfs66mMB8GA1Ud
IwQYMBaAFITUVNVSBn0pbOuxDEHjaUNfs66mMA8GA1UdEwEB/wQFMAMBAf8wDgYD
VR0PAQH/BAQDAgIEMAUGAytlcANBACFKzz46R8zowRN1dA5eMdtnddTkm3mzvfWZ
3EHvel2jT6mo6CYShXS1yLxAxJ/lF68wQfH68oxZPI6xT/cdnwQ=
-----END CERTIFICATE-----
";

    fn authorities(pem: &str) -> Authorities {
        Authorities::new(pem::certificates(pem.as_bytes()))
    }

    fn is(authorities: &Authorities, pem: &str) -> bool {
        let der = &pem::certificates(pem.as_bytes())[0];
        authorities.has(&Certificate::parse(der).unwrap())
    }

    #[test]
    fn a_file_is_read_again_after_a_minute_if_it_has_authorities() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reloaded = ReloadedFile::new(file.path().into(), authorities(ONE));
        fs::write(file.path(), TWO).unwrap();
        assert!(is(&reloaded.current(), ONE));
        let expire = || {
            let past = Instant::now().checked_sub(RELOAD_INTERVAL).unwrap();
            reloaded.last.write().unwrap().1 = past;
        };
        expire();
        assert!(is(&reloaded.current(), TWO) && !is(&reloaded.current(), ONE));
        for broken in ["", "no certificate"] {
            fs::write(file.path(), broken).unwrap();
            expire();
            assert!(is(&reloaded.current(), TWO));
        }
        fs::remove_file(file.path()).unwrap();
        expire();
        assert!(is(&reloaded.current(), TWO));
    }

    #[test]
    fn a_certificate_ends_with_its_last_second() {
        let der = CertificateDer::from(pem::certificates(ONE.as_bytes()).remove(0));
        let own = Certificate::parse(&der).unwrap();
        let trust = super::super::Trust::new(ONE.as_bytes()).unwrap();
        let at = |seconds: i64| {
            let time = Duration::from_secs(u64::try_from(seconds).unwrap());
            trust.verify(&der, &[], UnixTime::since_unix_epoch(time))
        };
        assert_eq!(at(own.not_before), Ok(()));
        assert_eq!(at(own.not_after - 1), Ok(()));
        // Go has nanoseconds, and is almost always past it by now.
        assert!(matches!(at(own.not_after), Err(Refusal::Expired { .. })));
        assert!(matches!(at(own.not_before - 1), Err(Refusal::NotYetValid { .. })));
    }

    #[test]
    fn a_certificate_with_any_byte_changed_is_not_another_authority() {
        let der = &pem::certificates(ONE.as_bytes())[0];
        let known = authorities(ONE);
        for place in 0..der.len() {
            let mut changed = der.clone();
            changed[place] ^= 1;
            assert!(!Certificate::parse(&changed).is_ok_and(|changed| known.has(&changed)));
            assert!(Certificate::parse(&der[..place]).is_err());
        }
    }
}

//! Public keys and signatures of X.509, as many as Go verifies. ring has the common ones; the crates of
//! `RustCrypto` have what it lacks: P-521, SHA-512 with the smaller curves, and RSA keys of other sizes.

use ring::{
    digest,
    signature::{self as ring_signature, UnparsedPublicKey, VerificationAlgorithm},
};
use rsa::BoxedUint;
use rustls::SignatureScheme;

use super::der::{self, INTEGER, Reader, SEQUENCE};

/// The smallest RSA key that Go verifies with.
const MIN_RSA_BITS: usize = 1024;
/// The largest RSA key of a server, as in Go.
pub(super) const MAX_RSA_BITS: usize = 8192;
/// The largest RSA key of an authority. Go has no limit.
const MAX_AUTHORITY_RSA_BITS: usize = 16384;
/// The sizes that ring verifies.
const RING_RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// `1.2.840.113549.1.1`, the start of most names of RSA.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// `1.2.840.10045.4`, the start of the names of ECDSA signatures.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// `2.16.840.1.101.3.4.2`, the start of the names of SHA-2.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const SHA1_WITH_RSA_OF_ISO: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1d];
pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];
const NULL: &[u8] = &[0x05, 0x00];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub fn digest(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub fn from_oid(oid: &[u8]) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.oid() == oid)
    }

    pub fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    /// The bytes of a coordinate, and of a private key.
    pub fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// How a certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
    /// With a hash that is broken.
    Insecure(&'static str),
    Unknown,
}

impl Algorithm {
    /// Of the contents of an `AlgorithmIdentifier`.
    pub fn from_identifier(identifier: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(identifier);
        let oid = reader.oid()?;
        let parameters = if reader.is_empty() { None } else { Some(reader.any()?.2) };
        Some(match oid {
            ED25519 if parameters.is_none() => Self::Ed25519,
            SHA1_WITH_RSA_OF_ISO => Self::Insecure("SHA-1"),
            _ => match (oid.strip_prefix(PKCS1), oid.strip_prefix(ECDSA)) {
                (Some([0x04]), _) => Self::Insecure("MD5"),
                (Some([0x05]), _) | (_, Some([0x01])) => Self::Insecure("SHA-1"),
                (Some([0x0a]), _) => {
                    parameters.and_then(pss_hash).map_or(Self::Unknown, Self::RsaPss)
                }
                (Some([0x0b]), _) => Self::RsaPkcs1(Hash::Sha256),
                (Some([0x0c]), _) => Self::RsaPkcs1(Hash::Sha384),
                (Some([0x0d]), _) => Self::RsaPkcs1(Hash::Sha512),
                (_, Some([0x03, 0x02])) => Self::Ecdsa(Hash::Sha256),
                (_, Some([0x03, 0x03])) => Self::Ecdsa(Hash::Sha384),
                (_, Some([0x03, 0x04])) => Self::Ecdsa(Hash::Sha512),
                _ => Self::Unknown,
            },
        })
    }

    /// Of a signature in the handshake.
    pub fn from_scheme(scheme: SignatureScheme) -> Self {
        match scheme {
            SignatureScheme::RSA_PKCS1_SHA256 => Self::RsaPkcs1(Hash::Sha256),
            SignatureScheme::RSA_PKCS1_SHA384 => Self::RsaPkcs1(Hash::Sha384),
            SignatureScheme::RSA_PKCS1_SHA512 => Self::RsaPkcs1(Hash::Sha512),
            SignatureScheme::RSA_PSS_SHA256 => Self::RsaPss(Hash::Sha256),
            SignatureScheme::RSA_PSS_SHA384 => Self::RsaPss(Hash::Sha384),
            SignatureScheme::RSA_PSS_SHA512 => Self::RsaPss(Hash::Sha512),
            SignatureScheme::ECDSA_NISTP256_SHA256 => Self::Ecdsa(Hash::Sha256),
            SignatureScheme::ECDSA_NISTP384_SHA384 => Self::Ecdsa(Hash::Sha384),
            SignatureScheme::ECDSA_NISTP521_SHA512 => Self::Ecdsa(Hash::Sha512),
            SignatureScheme::ED25519 => Self::Ed25519,
            _ => Self::Unknown,
        }
    }
}

/// The hash of RSA-PSS where all of its parameters follow from the hash, as Go wants them.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let mut parameters = Reader::new(der::only(parameters, SEQUENCE)?);
    let mut explicit = |tag: u8| parameters.read(0xa0 | tag);
    let (hash, mask, salt) = (explicit(0)?, explicit(1)?, explicit(2)?);
    let trailer = if parameters.is_empty() { None } else { Some(parameters.read(0xa3)?) };
    let mut mask = Reader::new(der::only(mask, SEQUENCE)?);
    let hash = digest_oid(hash)?;
    if mask.oid()?.strip_prefix(PKCS1) != Some(&[0x08]) || digest_oid(mask.any()?.2)? != hash {
        return None;
    }
    if trailer.is_some_and(|trailer| der::only(trailer, INTEGER) != Some(&[1])) {
        return None;
    }
    match (hash.strip_prefix(SHA2)?, der::only(salt, INTEGER)?) {
        ([0x01], [32]) => Some(Hash::Sha256),
        ([0x02], [48]) => Some(Hash::Sha384),
        ([0x03], [64]) => Some(Hash::Sha512),
        _ => None,
    }
}

fn digest_oid(identifier: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(der::only(identifier, SEQUENCE)?);
    let oid = reader.oid()?;
    (reader.is_empty() || reader.any()?.2 == NULL).then_some(oid)
}

/// The key in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// The key as PKCS#1, its modulus and its exponent.
    Rsa {
        pkcs1: &'a [u8],
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    /// An uncompressed point.
    Ec(Curve, &'a [u8]),
    Ed25519(&'a [u8]),
    /// Known, but of no use: it cannot sign, or its curve is not supported.
    Unsupported(&'static str),
    Unknown,
}

/// Why a signature is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Insecure(&'static str),
    /// The algorithm, or the kind of key.
    Unsupported,
    /// An RSA key that is too small or too large.
    RsaSize {
        bits: usize,
        max: usize,
    },
    Invalid,
}

impl<'a> PublicKey<'a> {
    /// Of the contents of a `SubjectPublicKeyInfo`; `None` where it is malformed.
    pub fn parse(info: &'a [u8]) -> Option<Self> {
        let mut info = Reader::new(info);
        let mut identifier = info.nested(SEQUENCE)?;
        let oid = identifier.oid()?;
        let parameters = if identifier.is_empty() { None } else { Some(identifier.any()?.2) };
        let key = info.bytes()?;
        Some(match oid {
            EC_PUBLIC_KEY => {
                let curve = Reader::new(parameters?).oid()?;
                match Curve::from_oid(curve) {
                    Some(curve) if key.len() == 1 + 2 * curve.size() && key[0] == 4 => {
                        Self::Ec(curve, key)
                    }
                    Some(_) => return None,
                    None => {
                        Self::Unsupported("an elliptic curve that is not P-256, P-384 or P-521")
                    }
                }
            }
            ED25519 if parameters.is_none() && key.len() == 32 => Self::Ed25519(key),
            ED25519 => return None,
            X25519 => Self::Unsupported("X25519"),
            DSA => Self::Unsupported("DSA"),
            _ if oid.strip_prefix(PKCS1) == Some(&[0x01]) => {
                if parameters != Some(NULL) {
                    return None;
                }
                let mut numbers = Reader::new(key).nested(SEQUENCE)?;
                let (modulus, exponent) = (numbers.positive()?, numbers.positive()?);
                if exponent.len() > 8 {
                    return None;
                }
                Self::Rsa { pkcs1: key, modulus, exponent }
            }
            _ => Self::Unknown,
        })
    }

    /// The bits of an RSA key.
    pub fn rsa_bits(&self) -> Option<usize> {
        match self {
            Self::Rsa { modulus, .. } => {
                let first = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                Some(modulus.len() * 8 - first)
            }
            _ => None,
        }
    }

    /// Verifies a signature.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Failure> {
        match (algorithm, *self) {
            (Algorithm::Insecure(hash), _) => Err(Failure::Insecure(hash)),
            (Algorithm::Ed25519, Self::Ed25519(key)) => {
                verify_by_ring(&ring_signature::ED25519, key, message, signature)
            }
            (Algorithm::Ecdsa(hash), Self::Ec(curve, point)) => {
                verify_ecdsa(curve, hash, point, message, signature)
            }
            (Algorithm::RsaPkcs1(_) | Algorithm::RsaPss(_), Self::Rsa { .. }) => {
                self.verify_rsa(algorithm, message, signature)
            }
            _ => Err(Failure::Unsupported),
        }
    }

    fn verify_rsa(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Failure> {
        let &Self::Rsa { pkcs1, modulus, exponent } = self else {
            return Err(Failure::Unsupported);
        };
        let bits = self.rsa_bits().unwrap_or_default();
        if !(MIN_RSA_BITS..=MAX_AUTHORITY_RSA_BITS).contains(&bits) {
            return Err(Failure::RsaSize { bits, max: MAX_AUTHORITY_RSA_BITS });
        }
        // Odd, and less than 32 bits, as Go demands.
        let is_odd = exponent.last().is_some_and(|last| last & 1 == 1);
        if !is_odd || exponent.len() > 4 || (exponent.len() == 4 && exponent[0] & 0x80 != 0) {
            return Err(Failure::Invalid);
        }
        if !RING_RSA_BITS.contains(&bits) {
            return verify_other_rsa(modulus, exponent, algorithm, message, signature);
        }
        let by: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RsaPkcs1(Hash::Sha256) => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RsaPkcs1(Hash::Sha384) => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RsaPkcs1(Hash::Sha512) => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::RsaPss(Hash::Sha256) => &ring_signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::RsaPss(Hash::Sha384) => &ring_signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::RsaPss(Hash::Sha512) => &ring_signature::RSA_PSS_2048_8192_SHA512,
            _ => return Err(Failure::Unsupported),
        };
        verify_by_ring(by, pkcs1, message, signature)
    }
}

fn verify_by_ring(
    by: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Failure> {
    UnparsedPublicKey::new(by, key).verify(message, signature).map_err(|_| Failure::Invalid)
}

fn verify_ecdsa(
    curve: Curve,
    hash: Hash,
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Failure> {
    use p521::ecdsa::signature::hazmat::PrehashVerifier;

    let by: &'static dyn VerificationAlgorithm = match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &ring_signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &ring_signature::ECDSA_P256_SHA384_ASN1,
        (Curve::P384, Hash::Sha256) => &ring_signature::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &ring_signature::ECDSA_P384_SHA384_ASN1,
        (curve, hash) => {
            let digest = hash.digest(message);
            let digest = digest.as_ref();
            macro_rules! verify {
                ($curve:ident) => {
                    $curve::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
                        key.verify_prehash(digest, &$curve::ecdsa::Signature::from_der(signature)?)
                    })
                };
            }
            let verified = match curve {
                Curve::P256 => verify!(p256),
                Curve::P384 => verify!(p384),
                Curve::P521 => verify!(p521),
            };
            return verified.map_err(|_| Failure::Invalid);
        }
    };
    verify_by_ring(by, point, message, signature)
}

/// RSA with a key that ring refuses for its size.
fn verify_other_rsa(
    modulus: &[u8],
    exponent: &[u8],
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Failure> {
    use sha2::{Sha256, Sha384, Sha512};

    let (modulus, exponent) =
        (BoxedUint::from_be_slice_vartime(modulus), BoxedUint::from_be_slice_vartime(exponent));
    let sizes = MIN_RSA_BITS..=MAX_AUTHORITY_RSA_BITS;
    let key = rsa::PublicKey::new_with_size_limits(modulus, exponent, sizes)
        .map_err(|_| Failure::Invalid)?;
    let verified = match algorithm {
        Algorithm::RsaPkcs1(Hash::Sha256) => key.pkcs1v15_verify::<Sha256>(message, signature),
        Algorithm::RsaPkcs1(Hash::Sha384) => key.pkcs1v15_verify::<Sha384>(message, signature),
        Algorithm::RsaPkcs1(Hash::Sha512) => key.pkcs1v15_verify::<Sha512>(message, signature),
        Algorithm::RsaPss(Hash::Sha256) => key.pss_verify::<Sha256>(message, signature),
        Algorithm::RsaPss(Hash::Sha384) => key.pss_verify::<Sha384>(message, signature),
        Algorithm::RsaPss(Hash::Sha512) => key.pss_verify::<Sha512>(message, signature),
        _ => return Err(Failure::Unsupported),
    };
    verified.map_err(|_| Failure::Invalid)
}

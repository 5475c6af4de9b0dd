//! Private keys as Go reads them: by their contents, whatever the label of the PEM block says. ring signs
//! with most; the crates of `RustCrypto` sign with P-521, and with RSA keys of other sizes.

use std::{fmt, sync::Arc};

use p521::ecdsa::signature::hazmat::PrehashSigner;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};
use rsa::{
    BoxedUint,
    rand_core::{TryCryptoRng, TryRng},
};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer},
    sign::{Signer, SigningKey},
};
use sha2::{Sha256, Sha384, Sha512};

use super::{
    der::{self, BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE},
    signature::{Algorithm, Curve, EC_PUBLIC_KEY, ED25519, Hash, PublicKey},
};

/// `1.2.840.113549.1.1.1`
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// The smallest RSA key that Go signs with, and the largest that we do.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=16384;
const MISMATCH: &str = "the client key does not match the client certificate";

/// A private key, as it is in the kubeconfig.
enum PrivateKey<'a> {
    /// PKCS#1.
    Rsa(&'a [u8]),
    Ec(Curve, Vec<u8>),
    Ed25519(&'a [u8]),
}

/// The signing key of a client certificate with this public key.
///
/// # Errors
/// A sentence about the key, which does not quote it.
pub(super) fn load(der: &[u8], public: &PublicKey) -> Result<Arc<dyn SigningKey>, &'static str> {
    match (parse(der)?, public) {
        (PrivateKey::Rsa(pkcs1), PublicKey::Rsa { modulus, exponent, .. }) => {
            load_rsa(pkcs1, modulus, exponent)
        }
        (PrivateKey::Ec(curve, key), PublicKey::Ec(expected, point)) if curve == *expected => {
            load_ec(curve, &key, point)
        }
        (PrivateKey::Ed25519(seed), PublicKey::Ed25519(public)) => {
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| MISMATCH)?;
            let algorithm = der::value(OBJECT_IDENTIFIER, &[ED25519]);
            load_by_ring(&pkcs8(&algorithm, &der::value(OCTET_STRING, &[seed])))
        }
        _ => Err(MISMATCH),
    }
}

fn parse(der: &[u8]) -> Result<PrivateKey<'_>, &'static str> {
    if rsa_numbers(der).is_some() {
        return Ok(PrivateKey::Rsa(der));
    }
    if let Some(Pkcs8 { oid, parameters, key }) = pkcs8_parts(der) {
        return match oid {
            RSA => rsa_numbers(key).map(|_| PrivateKey::Rsa(key)).ok_or("invalid client key"),
            EC_PUBLIC_KEY => {
                let curve = parameters.and_then(|parameters| Reader::new(parameters).oid());
                ec(key, curve)
            }
            ED25519 => {
                let seed = der::only(key, OCTET_STRING).filter(|seed| seed.len() == 32);
                seed.map(PrivateKey::Ed25519).ok_or("invalid client key")
            }
            _ => Err("unsupported client key: neither RSA, ECDSA nor Ed25519"),
        };
    }
    ec(der, None)
}

struct Pkcs8<'a> {
    oid: &'a [u8],
    parameters: Option<&'a [u8]>,
    key: &'a [u8],
}

fn pkcs8_parts(der: &[u8]) -> Option<Pkcs8<'_>> {
    let mut fields = Reader::new(der).nested(SEQUENCE)?;
    fields.small()?;
    let mut algorithm = fields.nested(SEQUENCE)?;
    let oid = algorithm.oid()?;
    let parameters = if algorithm.is_empty() { None } else { Some(algorithm.any()?.2) };
    Some(Pkcs8 { oid, parameters, key: fields.read(OCTET_STRING)? })
}

/// SEC1, whose curve may be missing where PKCS#8 names it. OpenSSL once left out leading zeros, and others
/// add some.
fn ec<'a>(der: &'a [u8], curve: Option<&[u8]>) -> Result<PrivateKey<'a>, &'static str> {
    const MALFORMED: &str = "invalid client key: neither PKCS#1, PKCS#8 nor SEC1, or encrypted";
    let read = || {
        let mut fields = Reader::new(der).nested(SEQUENCE)?;
        let version = fields.small()?;
        let key = fields.read(OCTET_STRING)?;
        let named = fields.optional(0xa0)?.map(|named| Reader::new(named).oid());
        (version == 1).then_some((key, named))
    };
    let (mut key, named) = read().ok_or(MALFORMED)?;
    let oid = curve.or(named.flatten()).ok_or("invalid client key: no elliptic curve")?;
    let curve = Curve::from_oid(oid)
        .ok_or("unsupported client key: its elliptic curve is not P-256, P-384 or P-521")?;
    while key.len() > curve.size() && key[0] == 0 {
        key = &key[1..];
    }
    let zeros = curve.size().checked_sub(key.len()).ok_or(MALFORMED)?;
    Ok(PrivateKey::Ec(curve, [&vec![0; zeros], key].concat()))
}

fn load_ec(curve: Curve, key: &[u8], point: &[u8]) -> Result<Arc<dyn SigningKey>, &'static str> {
    if curve == Curve::P521 {
        let key = p521::ecdsa::SigningKey::from_slice(key).map_err(|_| MISMATCH)?;
        if key.verifying_key().to_sec1_point(false).as_bytes() != point {
            return Err(MISMATCH);
        }
        return Ok(Arc::new(P521Key(Arc::new(key))));
    }
    // ring reads a key only with its public key, and compares the two.
    let bits = der::value(BIT_STRING, &[&[0], point]);
    let parts = [
        der::value(INTEGER, &[&[1]]),
        der::value(OCTET_STRING, &[key]),
        der::value(0xa1, &[&bits]),
    ];
    let sec1 = der::value(SEQUENCE, &[&parts.concat()]);
    let algorithm = [
        der::value(OBJECT_IDENTIFIER, &[EC_PUBLIC_KEY]),
        der::value(OBJECT_IDENTIFIER, &[curve.oid()]),
    ];
    load_by_ring(&pkcs8(&algorithm.concat(), &sec1))
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> PrivateKeyDer<'static> {
    let parts = [
        der::value(INTEGER, &[&[0]]),
        der::value(SEQUENCE, &[algorithm]),
        der::value(OCTET_STRING, &[key]),
    ];
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der::value(SEQUENCE, &[&parts.concat()])))
}

fn load_by_ring(key: &PrivateKeyDer) -> Result<Arc<dyn SigningKey>, &'static str> {
    any_supported_type(key).map_err(|_| MISMATCH)
}

/// Modulus, public and private exponent, and the primes.
fn rsa_numbers(der: &[u8]) -> Option<[&[u8]; 5]> {
    let mut fields = Reader::new(der::only(der, SEQUENCE)?);
    if fields.small()? > 1 {
        return None;
    }
    let mut next = || fields.positive();
    Some([next()?, next()?, next()?, next()?, next()?])
}

fn load_rsa(
    pkcs1: &[u8],
    modulus: &[u8],
    exponent: &[u8],
) -> Result<Arc<dyn SigningKey>, &'static str> {
    let numbers = rsa_numbers(pkcs1).ok_or(MISMATCH)?;
    if numbers[0] != modulus || numbers[1] != exponent {
        return Err(MISMATCH);
    }
    let key = PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(pkcs1));
    if let Ok(key) = any_supported_type(&key) {
        return Ok(key);
    }
    let bits = PublicKey::Rsa { pkcs1: &[], modulus, exponent }.rsa_bits().unwrap_or_default();
    if !RSA_BITS.contains(&bits) {
        return Err("unsupported client key: RSA with less than 1024 bits, or more than 16384");
    }
    let [modulus, exponent, private, one, other] = numbers.map(BoxedUint::from_be_slice_vartime);
    let key = rsa::PrivateKey::from_components(modulus, exponent, private, vec![one, other]);
    let key = key.map_err(|_| "invalid client key: its RSA numbers do not match")?;
    Ok(Arc::new(RsaKey { key: Arc::new(key), bytes: bits.div_ceil(8) }))
}

/// A key that ring has no code for.
#[derive(Clone)]
struct P521Key(Arc<p521::ecdsa::SigningKey>);

impl fmt::Debug for P521Key {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("P521Key")
    }
}

impl SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512);
        is_offered.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = Hash::Sha512.digest(message);
        let signature: p521::ecdsa::Signature =
            self.0.sign_prehash(digest.as_ref()).map_err(|_| not_signed())?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

/// A key that ring refuses, for its size or its exponent.
#[derive(Clone)]
struct RsaKey {
    key: Arc<rsa::PrivateKey>,
    bytes: usize,
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("RsaKey")
    }
}

impl SigningKey for RsaKey {
    /// A signature of PSS has two hashes in it, so a small key has none with SHA-512.
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let schemes = [
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
        ];
        let fits = |scheme: &SignatureScheme| {
            *scheme != SignatureScheme::RSA_PSS_SHA512 || self.bytes >= 2 * 64 + 2
        };
        let scheme = schemes.into_iter().find(|scheme| offered.contains(scheme) && fits(scheme))?;
        Some(Box::new(RsaSigner { key: self.key.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

struct RsaSigner {
    key: Arc<rsa::PrivateKey>,
    scheme: SignatureScheme,
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("RsaSigner")
    }
}

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let (key, random) = (&self.key, &mut Random(SystemRandom::new()));
        let signature = match Algorithm::from_scheme(self.scheme) {
            Algorithm::RsaPss(Hash::Sha256) => key.pss_sign_with_rng::<Sha256, _>(random, message),
            Algorithm::RsaPss(Hash::Sha384) => key.pss_sign_with_rng::<Sha384, _>(random, message),
            Algorithm::RsaPss(Hash::Sha512) => key.pss_sign_with_rng::<Sha512, _>(random, message),
            Algorithm::RsaPkcs1(Hash::Sha256) => {
                key.pkcs1v15_sign_with_rng::<Sha256, _>(random, message)
            }
            Algorithm::RsaPkcs1(Hash::Sha384) => {
                key.pkcs1v15_sign_with_rng::<Sha384, _>(random, message)
            }
            Algorithm::RsaPkcs1(Hash::Sha512) => {
                key.pkcs1v15_sign_with_rng::<Sha512, _>(random, message)
            }
            _ => return Err(not_signed()),
        };
        signature.map_err(|_| not_signed())
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn not_signed() -> Error {
    Error::General("could not sign with the client key".into())
}

/// ring's random numbers, for blinding and for the salt of PSS.
struct Random(SystemRandom);

impl TryRng for Random {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_| NoRandomness)
    }
}

impl TryCryptoRng for Random {}

#[derive(Debug, thiserror::Error)]
#[error("the operating system has no random numbers")]
struct NoRandomness;

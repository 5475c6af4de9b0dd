//! X.509 certificates as Go parses them: versions 1 to 3, and what is malformed is refused as a whole.

use std::collections::HashSet;

use super::{
    constraints::NameConstraints,
    der::{self, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE},
    names::{self, AlternativeNames},
    signature::{Algorithm, PublicKey},
    time,
};

const SET: u8 = 0x31;
/// A `GeneralName`.
const URI: u8 = 0x86;
/// `id-ce`, the names of most extensions but for their last number.
const STANDARD_EXTENSION: &[u8] = &[0x55, 0x1d];
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `anyExtendedKeyUsage`.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// `anyPolicy`, with its tag and length.
const ANY_POLICY: &[u8] = &[0x06, 0x04, 0x55, 0x1d, 0x20, 0x00];
/// `id-kp-serverAuth`.
const SERVER_USAGE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// The bit `keyCertSign` of the first byte.
const SIGNS_CERTIFICATES: u8 = 0x04;

/// A certificate, with what decides about a chain.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// All of it.
    pub der: &'a [u8],
    /// What is signed.
    pub signed: &'a [u8],
    pub version: u8,
    pub algorithm: Algorithm,
    pub issuer: &'a [u8],
    /// Seconds of Unix time.
    pub not_before: i64,
    pub not_after: i64,
    pub subject: &'a [u8],
    /// `SubjectPublicKeyInfo`.
    pub key_info: &'a [u8],
    pub key: PublicKey<'a>,
    pub signature: &'a [u8],
    pub extensions: Extensions<'a>,
}

/// The extensions that decide about a chain.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a> {
    pub basic_constraints: Option<BasicConstraints>,
    /// `None` without the extension, or where it allows nothing.
    pub may_sign: Option<bool>,
    /// `None` where there are none.
    pub usages: Option<Usages>,
    pub names: Option<AlternativeNames<'a>>,
    pub name_constraints: Option<NameConstraints<'a>>,
    /// `subjectKeyIdentifier` and the key of `authorityKeyIdentifier`, or nothing.
    pub subject_key: &'a [u8],
    pub authority_key: &'a [u8],
    pub policies: Vec<&'a [u8]>,
    pub maps_policies: bool,
    /// Whether a mapping is from or to `anyPolicy`.
    pub maps_any_policy: bool,
    /// Below so many authorities policies are demanded.
    pub requires_policy: Option<u64>,
    /// Below so many authorities any policy is none.
    pub inhibits_any_policy: Option<u64>,
    /// A critical one that nobody here knows.
    pub unknown_critical: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(super) struct BasicConstraints {
    pub is_authority: bool,
    pub max_path: Option<u64>,
}

/// What the extended key usages are good for.
#[derive(Debug)]
pub(super) struct Usages {
    pub any: bool,
    pub server: bool,
}

impl<'a> Certificate<'a> {
    /// # Errors
    /// What is malformed.
    pub fn parse(der: &'a [u8]) -> Result<Self, &'static str> {
        let mut input =
            Reader::new(der::only(der, SEQUENCE).ok_or("it is not one ASN.1 sequence")?);
        let signed = input.element(SEQUENCE).ok_or("its contents are malformed")?;
        let mut fields = Reader::new(der::only(signed, SEQUENCE).unwrap_or_default());

        let version = version(&mut fields).ok_or("its version is malformed")?;
        let serial = fields.integer().ok_or("its serial number is malformed")?;
        if serial[0] & 0x80 != 0 {
            return Err("its serial number is negative");
        }
        let inner = fields.read(SEQUENCE).ok_or("its signature algorithm is malformed")?;
        let outer = input.read(SEQUENCE).ok_or("its signature algorithm is malformed")?;
        if inner != outer {
            return Err("it names two different signature algorithms");
        }
        let algorithm =
            Algorithm::from_identifier(inner).ok_or("its signature algorithm is malformed")?;
        let issuer = name(&mut fields).ok_or("the name of its issuer is malformed")?;
        let mut validity = fields.nested(SEQUENCE).ok_or("its validity is malformed")?;
        let (not_before, not_after) = (time::read(&mut validity), time::read(&mut validity));
        let (Some(not_before), Some(not_after)) = (not_before, not_after) else {
            return Err("its validity is malformed");
        };
        let subject = name(&mut fields).ok_or("the name of its subject is malformed")?;
        let key_info = fields.element(SEQUENCE).ok_or("its public key is malformed")?;
        let key = PublicKey::parse(der::only(key_info, SEQUENCE).unwrap_or_default())
            .ok_or("its public key is malformed")?;
        let extensions =
            if version == 3 { extensions(&mut fields)? } else { Extensions::default() };
        let signature = input.bytes().ok_or("its signature is malformed")?;
        Ok(Self {
            der,
            signed,
            version,
            algorithm,
            issuer,
            not_before,
            not_after,
            subject,
            key_info,
            key,
            signature,
            extensions,
        })
    }

    /// The name of the subject for people to read.
    pub fn subject_text(&self) -> String {
        name_text(self.subject)
    }

    /// The common name of the subject.
    pub fn common_name(&self) -> Option<String> {
        attributes(self.subject)?
            .into_iter()
            .find(|(oid, _)| *oid == COMMON_NAME)
            .map(|(_, text)| text)
    }
}

/// 1 to 3. Version 1 is written by leaving it out.
fn version(fields: &mut Reader) -> Option<u8> {
    let Some(explicit) = fields.optional(0xa0)? else { return Some(1) };
    match Reader::new(explicit).small()? {
        version @ 0..=2 => u8::try_from(version + 1).ok(),
        _ => None,
    }
}

/// A distinguished name with its tag and length, all of whose parts are well-formed.
fn name<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    let name = fields.element(SEQUENCE)?;
    attributes(name)?;
    Some(name)
}

/// The attributes of a name: which, and the text.
fn attributes(name: &[u8]) -> Option<Vec<(&[u8], String)>> {
    let (mut sets, mut attributes) = (Reader::new(der::only(name, SEQUENCE)?), Vec::new());
    while !sets.is_empty() {
        let mut set = sets.nested(SET)?;
        while !set.is_empty() {
            let mut attribute = set.nested(SEQUENCE)?;
            let oid = attribute.oid()?;
            let (tag, value, _) = attribute.any()?;
            attributes.push((oid, names::text(tag, value)?));
        }
    }
    Some(attributes)
}

/// The common name, or else all attributes.
pub(super) fn name_text(name: &[u8]) -> String {
    let attributes = attributes(name).unwrap_or_default();
    let common = attributes.iter().find(|(oid, _)| *oid == COMMON_NAME);
    let text = match common {
        Some((_, text)) => text.clone(),
        None => attributes.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", "),
    };
    names::short(&text)
}

fn extensions<'a>(fields: &mut Reader<'a>) -> Result<Extensions<'a>, &'static str> {
    const MALFORMED: &str = "one of its extensions is malformed";
    let mut extensions = Extensions::default();
    // `issuerUniqueID` and `subjectUniqueID` decide nothing.
    for tag in [0x81, 0x82] {
        fields.optional(tag).ok_or(MALFORMED)?;
    }
    let Some(list) = fields.optional(0xa3).ok_or(MALFORMED)? else { return Ok(extensions) };
    let (mut list, mut seen) =
        (Reader::new(list).nested(SEQUENCE).ok_or(MALFORMED)?, HashSet::new());
    while !list.is_empty() {
        let mut extension = list.nested(SEQUENCE).ok_or(MALFORMED)?;
        let oid = extension.oid().ok_or(MALFORMED)?;
        let critical = extension.boolean().ok_or(MALFORMED)?;
        let value = extension.read(OCTET_STRING).ok_or(MALFORMED)?;
        if !seen.insert(oid) {
            return Err("it has the same extension twice");
        }
        let known = extensions.add(oid, critical, value).ok_or(MALFORMED)?;
        if critical && !known {
            extensions.unknown_critical = extensions.unknown_critical.or(Some(oid));
        }
    }
    Ok(extensions)
}

impl<'a> Extensions<'a> {
    /// Whether the extension is known; `None` where it is malformed.
    fn add(&mut self, oid: &[u8], critical: bool, value: &'a [u8]) -> Option<bool> {
        let mut reader = Reader::new(value);
        if oid == AUTHORITY_INFO_ACCESS {
            return (!critical && is_authority_information(value)).then_some(true);
        }
        let Some(&[number]) = oid.strip_prefix(STANDARD_EXTENSION) else { return Some(false) };
        match number {
            // subjectKeyIdentifier
            14 => {
                self.subject_key = reader.read(OCTET_STRING).filter(|_| !critical)?;
                Some(true)
            }
            // keyUsage
            15 => {
                let (bits, _) = reader.bits()?;
                let any = bits.first().is_some_and(|&byte| byte != 0)
                    || bits.get(1).is_some_and(|byte| byte & 0x80 != 0);
                self.may_sign = any.then(|| bits[0] & SIGNS_CERTIFICATES != 0);
                Some(true)
            }
            // subjectAltName
            17 => {
                let names = AlternativeNames::parse(value)?;
                let any = !(names.dns.is_empty()
                    && names.addresses.is_empty()
                    && names.emails.is_empty()
                    && names.uris.is_empty());
                self.names = Some(names);
                Some(any)
            }
            // basicConstraints
            19 => {
                let mut fields = reader.nested(SEQUENCE)?;
                let is_authority = fields.boolean()?;
                let max_path = if fields.peek(INTEGER) { Some(fields.small()?) } else { None };
                self.basic_constraints = Some(BasicConstraints { is_authority, max_path });
                Some(true)
            }
            // nameConstraints
            30 => {
                let (constraints, known) = NameConstraints::parse(value)?;
                self.name_constraints = Some(constraints);
                Some(known)
            }
            // cRLDistributionPoints
            31 => are_distribution_points(value).then_some(true),
            // certificatePolicies
            32 => {
                self.policies = policies(value)?;
                Some(true)
            }
            // policyMappings
            33 => {
                self.maps_policies = !reader.nested(SEQUENCE)?.is_empty();
                self.maps_any_policy =
                    value.windows(ANY_POLICY.len()).any(|part| part == ANY_POLICY);
                are_mappings(value).then_some(true)
            }
            // authorityKeyIdentifier
            35 => {
                let mut fields = reader.nested(SEQUENCE).filter(|_| !critical)?;
                self.authority_key = fields.optional(0x80)?.unwrap_or_default();
                Some(true)
            }
            // policyConstraints
            36 => {
                let mut fields = reader.nested(SEQUENCE)?;
                self.requires_policy = fields.optional_small(0x80)?;
                fields.optional_small(0x81)?;
                Some(true)
            }
            // extKeyUsage
            37 => {
                self.usages = usages(value)?;
                Some(true)
            }
            // inhibitAnyPolicy
            54 => {
                // One below zero limits nothing.
                let number = reader.element(INTEGER)?;
                Reader::new(number).integer().filter(|bytes| bytes.len() <= 8)?;
                self.inhibits_any_policy = Reader::new(number).small();
                Some(true)
            }
            _ => Some(false),
        }
    }
}

/// Whether it is a sequence of sequences, and all of these are well-formed.
fn all(value: &[u8], is_valid: impl Fn(Reader) -> Option<()>) -> bool {
    let Some(mut list) = Reader::new(value).nested(SEQUENCE) else { return false };
    while !list.is_empty() {
        if list.nested(SEQUENCE).and_then(&is_valid).is_none() {
            return false;
        }
    }
    true
}

fn are_mappings(value: &[u8]) -> bool {
    all(value, |mut mapping| {
        mapping.read(OBJECT_IDENTIFIER)?;
        mapping.read(OBJECT_IDENTIFIER).map(|_| ())
    })
}

fn is_authority_information(value: &[u8]) -> bool {
    all(value, |mut description| {
        description.oid()?;
        description.optional(URI).map(|_| ())
    })
}

fn are_distribution_points(value: &[u8]) -> bool {
    all(value, |mut point| {
        let Some(name) = point.optional(0xa0)? else { return Some(()) };
        let mut full_name = Reader::new(name).nested(0xa0)?;
        while full_name.peek(URI) {
            full_name.read(URI)?;
        }
        Some(())
    })
}

/// `None` also where one is there twice.
fn policies(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut list, mut policies) = (Reader::new(value).nested(SEQUENCE)?, Vec::new());
    let mut seen = HashSet::new();
    while !list.is_empty() {
        let oid = list.nested(SEQUENCE)?.read(OBJECT_IDENTIFIER)?;
        policies.push(Some(oid).filter(|oid| !oid.is_empty() && seen.insert(*oid))?);
    }
    Some(policies)
}

/// `Some(None)` for an empty list, which limits nothing.
#[allow(clippy::option_option)]
fn usages(value: &[u8]) -> Option<Option<Usages>> {
    let mut list = Reader::new(value).nested(SEQUENCE)?;
    if list.is_empty() {
        return Some(None);
    }
    let mut usages = Usages { any: false, server: false };
    while !list.is_empty() {
        let oid = list.oid()?;
        usages.any |= oid == ANY_USAGE;
        usages.server |= oid == SERVER_USAGE;
    }
    Some(Some(usages))
}

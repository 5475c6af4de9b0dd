#![allow(clippy::unwrap_used)]

use super::*;

/// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -sha512 -nodes -days 36500 -subj /CN=ca
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIB+TCCAVqgAwIBAgIUSCIjk9dyf15HrR2IVcligFIoiv0wCgYIKoZIzj0EAwQw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI3MDIzOTA4WhgPMjEyNjExMDMwMjM5MDha
MA0xCzAJBgNVBAMMAmNhMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQB67HfsxCb
W0YKu8i+yhep+1vinDv/OQnQYf7+pLS+9CtY3EJPoa7ajhhNKrH5cyDeFgHG0WNi
N8AGekj0bsoPjlUB5NQ+ZooYqhGf+W5EIXZ32vElOpD5nYrUKikPiJYkrRv1KABm
w6cV1KPQRlWxo3Yly4DvFIlMAunZ35r4UWABnOWjUzBRMB0GA1UdDgQWBBQJ4Dwd
ji0ZcHfYkISfv8qjcyADAzAfBgNVHSMEGDAWgBQJ4Dwdji0ZcHfYkISfv8qjcyAD
AzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMEA4GMADCBiAJCAM3AuoLme11+
TSOEIVl9V1ZFYAWbQx1bQoWgXvGspfw0ZIcMZfdomPtoYYXJ+6whq0pZq6Ao6S2Q
Dup/WbqWxlFqAkIAmVkZyaD9EydRQSfyqRwPVUwnF3PYYCiLPnr6QfRFQ94Ag+nJ
0bt28lGMxLbpR8lhlyMVzs8+sntxCeNNpyQS+t8=
-----END CERTIFICATE-----
";
/// For app-0.app, signed by the authority, and of a key on P-521, too.
const NODE: &str = "\
-----BEGIN CERTIFICATE-----
MIIB/DCCAV6gAwIBAgIBAjAKBggqhkjOPQQDBDANMQswCQYDVQQDDAJjYTAgFw0y
NjExMjcwMjM5MDhaGA8yMTI2MTEwMzAyMzkwOFowDzENMAsGA1UEAwwEbm9kZTCB
mzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEANVodSIiZONhJzEeyUSuX+ijtIsirLLj
1n64GUh5BCPGGOPmI9ESTXObrYc54tCmhHkdsQBDM8x8jD17+WzcK2FrAdyQaY9r
TEnpYHHZClhyCwCrZoODKLROHVeJEClTkxAb0NQLr+1oix3Km0/l7jrbPocE1sEC
MGYpq5Ihqnu3HwYmo2gwZjAkBgNVHREEHTAbgglhcHAtMC5hcHCCDioud2lsZC5l
eGFtcGxlMB0GA1UdDgQWBBSEhYVc+Gldo+Hmj19wHAg6gTbabzAfBgNVHSMEGDAW
gBQJ4Dwdji0ZcHfYkISfv8qjcyADAzAKBggqhkjOPQQDBAOBiwAwgYcCQgEDFBZr
bqNJDrDNAQRlWjGtX4vPyWzmNj04AfLlF/RCxzdEXa+0dfyTL++tc6PFV1B1OBU3
kCKn/odbQGCaqPl5rAJBYFNz9VbV94YSu2ZiN1+ybpxRVxqQVi07z/fW56eF1p/9
7lSOacrI9GMkcVR0NFmaUl+g3qgFyjl11JycnVhkVeo=
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIAbZiXeKg6foYKFv7H
NuySodlHZlAZdHZA1G3GZS15Kh+oqfKuYgiV514TdunMD6qpDSX+ATz8QDYKOFxI
QCtgq/ahgYkDgYYABADVaHUiImTjYScxHslErl/oo7SLIqyy49Z+uBlIeQQjxhjj
5iPREk1zm62HOeLQpoR5HbEAQzPMfIw9e/ls3CthawHckGmPa0xJ6WBx2QpYcgsA
q2aDgyi0Th1XiRApU5MQG9DUC6/taIsdyptP5e462z6HBNbBAjBmKauSIap7tx8G
Jg==
-----END PRIVATE KEY-----
";
/// An authority without CA:TRUE, and what it has signed for app-0.app.
const NO_AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIUeAUVbpvf575ZdHBu+Qaay241rvIwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFcGxhaW4wIBcNMjYxMTI3MDIzOTA4WhgPMjEyNjExMDMwMjM5
MDhaMBAxDjAMBgNVBAMMBXBsYWluMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
L5970zHGCWoQ4bhzrQzQ3twODGvcCEflZaijNL8IChDpMHWoU/WRTNWUO7Ewk+tG
ore3eu3KZJWXEhWiPGMkuKNQME4wHQYDVR0OBBYEFN1tV++dlhoHSWRTjY5z7pKr
F8dKMB8GA1UdIwQYMBaAFN1tV++dlhoHSWRTjY5z7pKrF8dKMAwGA1UdEwEB/wQC
MAAwCgYIKoZIzj0EAwIDSAAwRQIhAK7Oli3CH4TXr3bRtHu/cO72WWpWMX4xfxnH
ogv9vzV1AiBDxMCuaIQ1BtLETzZajPZQBcfbR8SvNbtg/xc7TY4dNA==
-----END CERTIFICATE-----
";
const SIGNED_BY_IT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBaTCCAQ6gAwIBAgIBAjAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDDAVwbGFpbjAg
Fw0yNjExMjcwMjM5MDhaGA8yMTI2MTEwMzAyMzkwOFowDzENMAsGA1UEAwwEbm9k
ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJzLrGMR8lu1Zv6w2d3TD04yYzbb
3oQdo3RS8EXeJ3VKRku2lCZc5KS0kxNZuDJd/NXXq1lkYiDn/0YwWhHE58KjWDBW
MBQGA1UdEQQNMAuCCWFwcC0wLmFwcDAdBgNVHQ4EFgQUVMHxTS3nUqdJoNt9AKNL
m6tFZZgwHwYDVR0jBBgwFoAU3W1X752WGgdJZFONjnPukqsXx0owCgYIKoZIzj0E
AwIDSQAwRgIhALr452zfeBzqeYcfQ1v3+km57N6AMsLx8dOEbOq6tw9DAiEAsx3O
jzlPTbCQ8kPdfcMuQ8A0WjiOq+3JlcBSBIMVyps=
-----END CERTIFICATE-----
";

fn tls(authority: &str) -> Tls {
    let files = Files { authority: authority.into(), identity: None };
    Tls::new(&files).unwrap()
}

fn verify(tls: &Tls, certificate: &str) -> Result<(), String> {
    let der = access::certificates(certificate.as_bytes()).remove(0);
    let name = ServerName::try_from(NO_NAME).unwrap();
    let (der, now) = (CertificateDer::from(der), UnixTime::now());
    let verified = tls.verifier.verify_server_cert(&der, &[], &name, &[], now);
    verified.map(|_| ()).map_err(|error| tls::describe(&error))
}

#[test]
fn keys_and_certificates_on_any_curve() {
    let tls = tls(AUTHORITY);
    assert_eq!(verify(&tls, NODE), Ok(()));
    assert_eq!(tls.confirm("app-0.app"), Ok(()));
    let identity = Some((NODE.into(), KEY.into()));
    assert!(Tls::new(&Files { authority: AUTHORITY.into(), identity }).is_ok());
}

#[test]
fn an_authority_is_its_name_and_key_as_for_otp() {
    assert_eq!(verify(&tls(NO_AUTHORITY), SIGNED_BY_IT), Ok(()));
    let unknown = verify(&tls(NO_AUTHORITY), NODE).unwrap_err();
    assert_eq!(unknown, "its certificate is from an unknown certificate authority (ca)");
}

#[test]
fn the_host_is_verified_when_it_is_known_and_from_then_on() {
    let tls = tls(AUTHORITY);
    // Known before the certificate
    assert_eq!(tls.confirm("app-1.app"), Ok(()));
    let expected = "the node's certificate is for app-0.app, *.wild.example, not for app-1.app";
    assert_eq!(verify(&tls, NODE), Err(expected.into()));
    // And after it
    assert_eq!(tls.confirm("x.wild.example"), Ok(()));
    assert_eq!(verify(&tls, NODE), Ok(()));
    assert_eq!(tls.confirm("app-1.app"), Err(expected.into()));
    assert!(tls.confirm("not a host").is_err());
}

#[test]
fn files_that_cannot_be_used() {
    let problem = |authority: &str, identity| {
        Tls::new(&Files { authority: authority.into(), identity }).err().unwrap()
    };
    assert_eq!(problem("", None), "the authority has no PEM block CERTIFICATE");
    let identity = |certificate: &str, key: &str| Some((certificate.into(), key.into()));
    let none = problem(AUTHORITY, identity("", KEY));
    assert_eq!(none, "the client certificate has no PEM block CERTIFICATE");
    let none = problem(AUTHORITY, identity(NODE, AUTHORITY));
    assert_eq!(none, "the client key has no PEM block PRIVATE KEY");
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F\n\nMAA=\n\
         -----END RSA PRIVATE KEY-----\n",
    ] {
        let encrypted = problem(AUTHORITY, identity(NODE, encrypted));
        assert_eq!(encrypted, "unsupported client key: it is encrypted");
    }
    // Of another certificate
    let other = problem(AUTHORITY, identity(SIGNED_BY_IT, KEY));
    assert!(!other.is_empty() && !other.contains("MIG"), "{other}");
}

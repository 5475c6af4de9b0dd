//! `ExecCredential`: the input of a plugin, and its answer.
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::jiff::Timestamp;
use kube::config::ExecConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

use super::credentials::{Credentials, Identity, bearer};

/// Why an answer is invalid. Without the answer itself: there may be a token in it.
pub(super) enum InvalidAnswer {
    Malformed(String),
    Version(String),
    Empty,
}

/// The value of `KUBERNETES_EXEC_INFO`.
pub(super) fn info(exec: &ExecConfig, interactive: bool) -> String {
    let mut spec = json!({"interactive": interactive});
    if let Some(cluster) = &exec.cluster {
        let authority =
            cluster.certificate_authority_data.as_ref().map(|pem| BASE64_STANDARD.encode(pem));
        let fields = [
            ("server", cluster.server.clone().map(Value::from)),
            ("tls-server-name", cluster.tls_server_name.clone().map(Value::from)),
            ("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify.map(Value::from)),
            ("certificate-authority-data", authority.map(Value::from)),
            ("proxy-url", cluster.proxy_url.clone().map(Value::from)),
            ("config", cluster.config.clone()),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        spec["cluster"] = Value::Object(fields.collect::<Map<_, _>>());
    }
    json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec}).to_string()
}

/// The credentials in an answer.
pub(super) fn parse(output: &[u8], version: &str) -> Result<Credentials, InvalidAnswer> {
    let malformed = |problem: &str| InvalidAnswer::Malformed(problem.into());
    if output.trim_ascii().is_empty() {
        return Err(malformed("it printed nothing"));
    }
    // The message of the parser may quote the answer.
    let answer: Value = serde_json::from_slice(output).map_err(|error| {
        InvalidAnswer::Malformed(format!(
            "it is no JSON, from line {}, column {} on",
            error.line(),
            error.column()
        ))
    })?;
    if answer["kind"] != "ExecCredential" {
        return Err(malformed("its kind is not ExecCredential"));
    }
    match answer["apiVersion"].as_str() {
        Some(actual) if actual == version => {}
        // It is part of the message, so it must look like a version.
        Some(actual) if actual.len() <= 64 => return Err(InvalidAnswer::Version(actual.into())),
        _ => return Err(malformed("it has no apiVersion")),
    }
    let status = &answer["status"];
    let authorization = match filled(&status["token"]) {
        Some(token) => {
            Some(bearer(token).ok_or_else(|| malformed("its token has a control character"))?)
        }
        None => None,
    };
    let identity = identity(status)?;
    if authorization.is_none() && identity.is_none() {
        return Err(InvalidAnswer::Empty);
    }
    let expires = match filled(&status["expirationTimestamp"]) {
        Some(time) => Some(
            time.parse::<Timestamp>()
                .map_err(|_| malformed("its expirationTimestamp is not a time as in RFC 3339"))?,
        ),
        None => None,
    };
    Ok(Credentials { generation: 0, authorization, identity, expires })
}

fn identity(status: &Value) -> Result<Option<Identity>, InvalidAnswer> {
    let malformed = |problem: &str| InvalidAnswer::Malformed(problem.into());
    let certificate = filled(&status["clientCertificateData"]);
    let key = filled(&status["clientKeyData"]);
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            CertificateDer::from_pem_slice(certificate.as_bytes())
                .map_err(|_| malformed("its clientCertificateData is no PEM certificate"))?;
            PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| malformed("its clientKeyData is no PEM key"))?;
            Ok(Some(Identity { certificate: certificate.into(), key: key.to_owned().into() }))
        }
        (Some(_), None) => Err(malformed("it has a clientCertificateData and no clientKeyData")),
        (None, Some(_)) => Err(malformed("it has a clientKeyData and no clientCertificateData")),
    }
}

fn filled(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn answered(status: &Value) -> Result<Credentials, InvalidAnswer> {
        let text = json!({"kind": "ExecCredential", "apiVersion": V1, "status": status});
        parse(text.to_string().as_bytes(), V1)
    }

    #[test]
    fn a_token() {
        let credentials = answered(&json!({"token": "secret"})).ok().unwrap();
        assert_eq!(credentials.authorization.unwrap(), "Bearer secret");
        assert!(credentials.expires.is_none());
        let time = json!({"token": "t", "expirationTimestamp": "2030-01-02T03:04:05+01:00"});
        assert_eq!(
            answered(&time).ok().unwrap().expires.unwrap().to_string(),
            "2030-01-02T02:04:05Z"
        );
    }

    #[test]
    fn answers_that_are_invalid() {
        for status in [json!({}), json!(null), json!({"token": ""})] {
            assert!(matches!(answered(&status), Err(InvalidAnswer::Empty)), "{status}");
        }
        let malformed = [
            json!({"token": "sec\nret"}),
            json!({"token": "t", "expirationTimestamp": "secret"}),
            json!({"clientCertificateData": "secret"}),
            json!({"clientKeyData": "secret"}),
            json!({"clientCertificateData": "secret", "clientKeyData": "secret"}),
        ];
        for status in malformed {
            let Err(InvalidAnswer::Malformed(problem)) = answered(&status) else {
                panic!("{status}")
            };
            assert!(!problem.contains("secret"), "{problem}");
        }
        for text in ["", "  ", "secret", "{\"secret\"", "[]", "{}", "{\"kind\": \"secret\"}"] {
            let Err(InvalidAnswer::Malformed(problem)) = parse(text.as_bytes(), V1) else {
                panic!("{text}")
            };
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn another_version() {
        let text = json!({"kind": "ExecCredential", "apiVersion": "x/v2", "status": {}});
        let invalid = parse(text.to_string().as_bytes(), V1).err().unwrap();
        assert!(matches!(invalid, InvalidAnswer::Version(actual) if actual == "x/v2"));
    }

    #[test]
    fn the_input_of_a_plugin() {
        let exec = |more: &str| -> ExecConfig {
            serde_json::from_str(&format!(
                "{{\"apiVersion\": \"{V1}\", \"command\": \"aws\"{more}}}"
            ))
            .unwrap()
        };
        let sent: Value = serde_json::from_str(&info(&exec(""), true)).unwrap();
        assert_eq!(
            sent,
            json!({"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": true}})
        );
    }
}

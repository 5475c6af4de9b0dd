//! `ExecCredential`: the input of a plugin, and its answer.
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    credentials::{Credentials, Identity, bearer},
    expiry,
};
use crate::access::{
    kubeconfig::Exec,
    tls,
    yaml::{self, Fields, Invalid, Node},
};

/// Why an answer is invalid. Without the answer itself: there may be a token in it.
pub(super) enum InvalidAnswer {
    Malformed(String),
    Version(String),
    Empty,
}

impl From<Invalid> for InvalidAnswer {
    fn from(invalid: Invalid) -> Self {
        Self::Malformed(invalid.to_string())
    }
}

/// The value of `KUBERNETES_EXEC_INFO`.
pub(super) fn info(exec: &Exec, interactive: bool) -> String {
    let mut spec = json!({"interactive": interactive});
    if let Some(cluster) = &exec.cluster {
        spec["cluster"] = cluster.clone();
    }
    json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec}).to_string()
}

/// The credentials in an answer: JSON, or YAML where it does not begin with a brace.
pub(super) fn parse(output: &[u8], version: &str) -> Result<Credentials, InvalidAnswer> {
    let malformed = |problem: &str| InvalidAnswer::Malformed(problem.into());
    if output.trim_ascii().is_empty() {
        return Err(malformed("it printed nothing"));
    }
    if output.trim_ascii_start().starts_with(b"{") {
        check_json(output)?;
    }
    let answer = yaml::parse(output)?;
    let (actual, kind) = answer.version_and_kind()?;
    if !matches!(kind.as_str(), "" | "ExecCredential") {
        return Err(malformed("its kind is not ExecCredential"));
    }
    match actual.as_str() {
        actual if actual == version => {}
        "" => return Err(malformed("it has no apiVersion")),
        // It is part of the message, so it must look like a version.
        actual if actual.len() <= 64 => return Err(InvalidAnswer::Version(actual.into())),
        _ => return Err(malformed("its apiVersion is too long")),
    }
    let answer = answer.fields()?;
    check_spec(answer.get("spec").fields()?)?;
    let status = Status::read(answer.get("status").fields()?)?;
    let authorization = match status.token.as_str() {
        "" => None,
        token => Some(bearer(token).ok_or_else(|| malformed("its token has a control character"))?),
    };
    let identity = identity(status.certificate, status.key)?;
    if authorization.is_none() && identity.is_none() {
        return Err(InvalidAnswer::Empty);
    }
    Ok(Credentials { generation: 0, authorization, identity, expires: status.expires })
}

/// The message of the parser may quote the answer.
fn check_json(output: &[u8]) -> Result<(), InvalidAnswer> {
    let checked: Result<Value, _> = serde_json::from_slice(output);
    checked.map(drop).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        InvalidAnswer::Malformed(format!("it is not JSON, from line {line}, column {column} on"))
    })
}

/// Nothing in it is used, and client-go decodes it.
fn check_spec(spec: Fields<'_>) -> Result<(), Invalid> {
    spec.flag("interactive")?;
    let cluster = spec.get("cluster").fields()?;
    for name in ["server", "tls-server-name", "proxy-url"] {
        cluster.text(name)?;
    }
    for name in ["insecure-skip-tls-verify", "disable-compression"] {
        cluster.flag(name)?;
    }
    cluster.get("certificate-authority-data").bytes()?;
    Ok(())
}

struct Status {
    token: String,
    certificate: String,
    key: String,
    expires: Option<Timestamp>,
}

impl Status {
    fn read(status: Fields<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            token: status.text("token")?,
            certificate: status.text("clientCertificateData")?,
            key: status.text("clientKeyData")?,
            expires: time(status.get("expirationTimestamp"))?,
        })
    }
}

fn time(node: &Node) -> Result<Option<Timestamp>, Invalid> {
    if node.is_null() {
        return Ok(None);
    }
    let invalid = || Invalid::new(node.at, "this is not a time as in RFC 3339");
    let time = expiry::parse(&node.text()?).ok_or_else(invalid)?;
    Ok((!expiry::is_zero(time)).then_some(time))
}

fn identity(certificate: String, key: String) -> Result<Option<Identity>, InvalidAnswer> {
    let malformed = |problem: &str| InvalidAnswer::Malformed(problem.into());
    match (certificate.is_empty(), key.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => {
            tls::client_identity(certificate.as_bytes(), key.as_bytes())
                .map_err(InvalidAnswer::Malformed)?;
            Ok(Some(Identity { certificate, key: key.into() }))
        }
        (false, true) => Err(malformed("it has a clientCertificateData and no clientKeyData")),
        (true, false) => Err(malformed("it has a clientKeyData and no clientCertificateData")),
    }
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
            json!({"token": "t", "expirationTimestamp": ""}),
            json!({"token": 1}),
            json!({"token": "t", "clientKeyData": "secret"}),
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
        let texts = [
            "",
            "  ",
            "secret",
            "{\"secret\"",
            "[]",
            "{}",
            "{\"kind\": \"secret\"}",
            "{secret: x}",
        ];
        for text in texts {
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
    fn an_answer_in_yaml() {
        let text = format!(
            "# from a shell script\napiVersion: {V1}\nkind: ExecCredential\nspec:\nstatus:\n  \
             token: secret\n  expirationTimestamp: 2030-01-02T03:04:05Z\n  clientKeyData: null\n"
        );
        let credentials = parse(text.as_bytes(), V1).ok().unwrap();
        assert_eq!(credentials.authorization.unwrap(), "Bearer secret");
        assert_eq!(credentials.expires.unwrap().to_string(), "2030-01-02T03:04:05Z");
        // As client-go has it: the kind is known.
        let text = format!("apiVersion: {V1}\nstatus: {{token: secret}}");
        assert!(parse(text.as_bytes(), V1).is_ok());
        for more in ["spec: [1]", "spec: {interactive: 'no'}", "spec: {cluster: {server: 1}}"] {
            let invalid = parse(format!("{text}\n{more}").as_bytes(), V1);
            assert!(matches!(invalid, Err(InvalidAnswer::Malformed(_))), "{more}");
        }
    }
}

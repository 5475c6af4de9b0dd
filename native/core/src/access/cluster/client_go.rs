//! Compares the clients of kubeconfigs with those of client-go. `test/kubeconfig` writes kubeconfigs and what client-go makes of them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Cluster;
use crate::access::{
    environment::Environment,
    kubeconfig::{ClientConfig, Error, Exec, LoginMethod, Selection, Source, resolve},
    proxy::Proxy,
};

#[derive(Deserialize)]
struct Case {
    name: String,
    files: Vec<PathBuf>,
    context: String,
    expected: Value,
}

/// What is meant to differ: why, and whether a pair of results is such a case.
type Difference = (&'static str, fn(&Result<Value, Error>, &Result<&Value, &str>) -> bool);

const DIFFERENCES: [Difference; 12] = [
    ("data wins over a path beside it, as client-go announces and then refuses", |ours, theirs| {
        ours.is_ok() && fails_with(theirs, &["are both specified"])
    }),
    ("interactiveMode may be missing with v1: it is IfAvailable then", |ours, theirs| {
        ours.is_ok() && fails_with(theirs, &["interactiveMode must be specified"])
    }),
    ("a proxy may be without a scheme, or socks5h", |ours, theirs| {
        ours.is_ok() && fails_with(theirs, &["unsupported scheme", "could not parse"])
    }),
    ("a token file that is missing or empty is an error of the first request", |ours, theirs| {
        let is_file = |ours: &Value| !ours["token_file"].is_null();
        ours.as_ref().is_ok_and(is_file)
            && fails_with(theirs, &["no such file", "read empty token from file"])
    }),
    ("a token is sent without white space around it", |ours, theirs| {
        ours.is_ok() && fails_with(theirs, &["invalid header field value for \"Authorization\""])
    }),
    ("a namespace that is no RFC 1123 label would change the path of a URL", |ours, theirs| {
        matches!(ours, Err(Error::InvalidNamespace { .. })) && theirs.is_ok()
    }),
    (
        "a user that is named and missing is no anonymous one: kubectl asks for a name",
        |ours, theirs| matches!(ours, Err(Error::UnknownUser { .. })) && theirs.is_ok(),
    ),
    ("a host name with letters beyond ASCII is not translated for DNS", |ours, theirs| {
        matches!(ours, Err(Error::InvalidCluster { .. }))
            && theirs.as_ref().is_ok_and(|theirs| !theirs["server"].as_str().unwrap().is_ascii())
    }),
    ("a server without a host is not this machine", |ours, theirs| {
        matches!(ours, Err(Error::InvalidCluster { .. }))
            && theirs
                .as_ref()
                .is_ok_and(|theirs| theirs["server"].as_str().unwrap().contains("//:"))
    }),
    ("a certificate in a file is an error before the first connection", |ours, theirs| {
        matches!(ours, Err(Error::InvalidUser { .. }))
            && theirs.as_ref().is_ok_and(|theirs| !theirs["certificate"].is_null())
    }),
    ("YAML 1.2 that go-yaml 2 refuses: \\/ in a string, a tab in an empty line", |ours, theirs| {
        ours.is_ok() && fails_with(theirs, &["unknown escape character", "found a tab character"])
    }),
    ("a port above 65535 is an error at once", |ours, theirs| {
        matches!(ours, Err(Error::InvalidCluster { .. }))
            && theirs
                .as_ref()
                .is_ok_and(|theirs| theirs["server"].as_str().unwrap().contains("99999"))
    }),
];

fn fails_with(theirs: &Result<&Value, &str>, texts: &[&str]) -> bool {
    theirs.is_err_and(|error| texts.iter().any(|text| error.contains(text)))
}

/// Run by `script/test`, with the folder in a variable.
#[tokio::test]
#[ignore = "needs the output of test/kubeconfig"]
async fn the_same_as_client_go() {
    let folder = PathBuf::from(std::env::var("K8S_CONNECT_KUBECONFIGS").unwrap());
    let cases = fs::read(folder.join("cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    let (mut ok, mut errors, mut meant) = (0, 0, BTreeMap::new());
    let mut failures = Vec::new();
    for case in &cases {
        let ours = resolved(case).await;
        let theirs = match case.expected["error"].as_str().unwrap() {
            "" => Ok(&case.expected),
            error => Err(error),
        };
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if same(ours, theirs) => ok += 1,
            (Err(_), Err(_)) => errors += 1,
            _ => match DIFFERENCES.iter().find(|(_, is_meant)| is_meant(&ours, &theirs)) {
                Some((reason, _)) => *meant.entry(reason).or_insert(0) += 1,
                None => failures.push(report(case, &ours, &theirs)),
            },
        }
    }
    let total = cases.len();
    println!("kubeconfigs: {total}, the same client: {ok}, refused by both: {errors}");
    for (reason, count) in &meant {
        println!("meant to differ: {count}: {reason}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(total >= 300 && ok >= 100 && errors >= 100, "too few cases");
}

fn report(case: &Case, ours: &Result<Value, Error>, theirs: &Result<&Value, &str>) -> String {
    let (name, file) = (&case.name, case.files[0].display());
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let keys = ours.as_object().unwrap().keys();
            let keys = keys.filter(|key| !same_field(key, ours, theirs));
            let keys: Vec<_> = keys.map(|key| (key, &ours[key], &theirs[key])).collect();
            format!("{name} ({file}): {keys:?}")
        }
        _ => format!(
            "{name} ({file}): ours {:?}, client-go {:?}",
            ours.as_ref().map(drop),
            theirs.map(drop)
        ),
    }
}

fn same(ours: &Value, theirs: &Value) -> bool {
    ours.as_object().unwrap().keys().all(|key| same_field(key, ours, theirs))
}

fn same_field(key: &str, ours: &Value, theirs: &Value) -> bool {
    match key {
        "token_file" => true,
        // In a URL the zone of an IPv6 address is percent-encoded.
        "server" => ours[key].as_str().unwrap().replace("%25", "%") == theirs[key],
        "proxy" => {
            let (url, server) = (theirs[key].as_str(), "https://a".parse().unwrap());
            let proxy = Proxy::choose(url, &server, &Environment::default()).unwrap();
            ours[key] == json!(proxy.as_ref().map(Proxy::address))
        }
        key => ours[key] == theirs[key],
    }
}

async fn resolved(case: &Case) -> Result<Value, Error> {
    let source =
        Source { list: Some(std::env::join_paths(&case.files).unwrap()), ..Source::default() };
    let context = (!case.context.is_empty()).then(|| case.context.clone());
    let config = resolve(&source, Selection { context, namespace: None }).await?;
    // It fails where a certificate or a header cannot be used. Without those it only reads the system's
    // authorities, which takes its time.
    let user = &config.kube.auth_info;
    if user.client_certificate_data.is_some() || user.impersonate.is_some() {
        Cluster::new(config.clone(), Duration::from_secs(10))?;
    }
    Ok(described(&config))
}

fn described(config: &ClientConfig) -> Value {
    let kube = &config.kube;
    let user = &kube.auth_info;
    let mut headers = impersonation(user);
    let (mut exec, mut oidc, mut token_file) = (Value::Null, Value::Null, Value::Null);
    let mut authorization = |text: String| headers.insert("authorization".into(), vec![text]);
    match &config.login {
        LoginMethod::None => {}
        LoginMethod::Token(token) => {
            authorization(format!("Bearer {}", token.expose_secret()));
        }
        LoginMethod::TokenFile { path, token } => {
            token_file = json!(path);
            let read = fs::read_to_string(path).unwrap_or_default();
            let token = match (read.trim(), token) {
                ("", Some(token)) => token.expose_secret(),
                (read, _) => read,
            };
            authorization(format!("Bearer {token}"));
        }
        LoginMethod::Password { name, password } => {
            let text = format!("{name}:{}", password.expose_secret());
            authorization(format!("Basic {}", BASE64_STANDARD.encode(text)));
        }
        LoginMethod::Exec(plugin) => exec = described_exec(plugin),
        LoginMethod::Oidc(settings) => oidc = json!(settings),
    }
    let data = |data: Option<&str>| data.map_or(Value::Null, Value::from);
    json!({
        "server": kube.cluster_url.to_string().trim_end_matches('/'),
        "namespace": config.namespace,
        "insecure": kube.accept_invalid_certs,
        "server_name": kube.tls_server_name.clone().unwrap_or_default(),
        "compression": !kube.disable_compression,
        "authority": authority(kube.root_cert.as_deref()),
        "certificate": data(user.client_certificate_data.as_deref()),
        "key": data(user.client_key_data.as_ref().map(ExposeSecret::expose_secret)),
        "headers": headers,
        "proxy": config.proxy.as_ref().map(Proxy::address),
        "exec": exec,
        "oidc": oidc,
        "token_file": token_file,
    })
}

/// Base64 of PEM: each case has one certificate.
fn authority(certificates: Option<&[Vec<u8>]>) -> Value {
    let Some([der]) = certificates else { return Value::Null };
    let encoded = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    BASE64_STANDARD.encode(pem).into()
}

fn impersonation(user: &kube::config::AuthInfo) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::new();
    let mut add = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            headers.insert(name.to_owned(), values);
        }
    };
    add("impersonate-user", user.impersonate.iter().cloned().collect());
    add("impersonate-uid", user.impersonate_uid.iter().cloned().collect());
    add("impersonate-group", user.impersonate_groups.clone().unwrap_or_default());
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        let key = key.replace('/', "%2f");
        add(&format!("impersonate-extra-{key}"), values.clone());
    }
    headers
}

fn described_exec(exec: &Exec) -> Value {
    let list = |values: Value| if values == json!([]) { Value::Null } else { values };
    json!({
        "command": exec.command,
        "arguments": list(json!(exec.arguments)),
        "variables": list(json!(exec.variables)),
        "api_version": exec.api_version,
        "interactive": format!("{:?}", exec.interactive_mode),
        "cluster": exec.cluster,
    })
}

//! Compares answers of plugins, and the kubercs that allow plugins, with client-go and kubectl. `test/kubeconfig` writes
//! both, and what they make of each.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{
    Error,
    exec_credential::{InvalidAnswer, parse},
    expiry,
    plugin_run::PluginRun,
};
use crate::access::{
    kubeconfig::{self, ClientConfig, Exec, InteractiveMode, PluginPolicy, Source},
    tls,
};

#[derive(Deserialize)]
struct Cases {
    answers: Vec<Answer>,
    kubercs: Option<Vec<Kuberc>>,
    path: String,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    text: String,
    version: String,
    error: String,
    authorization: String,
    certificate: Option<String>,
    expired: bool,
}

#[derive(Deserialize)]
struct Kuberc {
    file: PathBuf,
    error: String,
    allowed: BTreeMap<String, bool>,
}

/// The header, the certificate, and whether it has expired.
type Result<T = (String, Option<String>, bool), E = String> = std::result::Result<T, E>;

/// What is meant to differ: why, and whether a pair of results is such a case.
type Difference = (&'static str, fn(&Answer, &Result, &Result) -> bool);

const DIFFERENCES: [Difference; 4] = [
    ("a token is sent without white space around it", |_, ours, theirs| match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours.0.trim() == theirs.0.replace("Bearer  ", "Bearer ").trim(),
        (Ok(_), Err(error)) => error.contains("invalid header field value"),
        _ => false,
    }),
    ("JSON that is no Unicode is refused", |_, ours, theirs| {
        ours.is_err() && theirs.as_ref().is_ok_and(|theirs| theirs.0.contains('\u{fffd}'))
    }),
    ("JSON is no deeper than 128 levels", |case, ours, theirs| {
        ours.is_err() && theirs.is_ok() && case.name.starts_with("deep")
    }),
    ("an authority of the input is no list of numbers", |case, ours, theirs| {
        ours.is_err() && theirs.is_ok() && case.name.starts_with("list")
    }),
];

/// What is meant to differ for kubercs: why, and texts of such a file.
const KUBERC_DIFFERENCES: [(&str, [&str; 2]); 2] = [
    ("aliases and defaults are for kubectl's commands", ["aliases:", "defaults:"]),
    ("an internal version of kubectl is no version", ["__internal", "__internal"]),
];

fn cases() -> Cases {
    let folder = PathBuf::from(std::env::var("K8S_CONNECT_KUBECONFIGS").unwrap());
    serde_json::from_slice(&fs::read(folder.join("plugins.json")).unwrap()).unwrap()
}

/// Run by `script/test`, with the folder in a variable.
#[test]
#[ignore = "needs the output of test/kubeconfig"]
fn the_same_answers_as_client_go() {
    let (mut accepted, mut refused, mut meant) = (0, 0, BTreeMap::new());
    let mut failures = Vec::new();
    for case in cases().answers {
        let ours = credentials(&case);
        let theirs = match case.error.as_str() {
            "" => Ok((case.authorization.clone(), case.certificate.clone(), case.expired)),
            error => Err(error.to_owned()),
        };
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => accepted += 1,
            (Err(_), Err(_)) => refused += 1,
            _ => match DIFFERENCES.iter().find(|(_, is_meant)| is_meant(&case, &ours, &theirs)) {
                Some((reason, _)) => *meant.entry(reason).or_insert(0) += 1,
                None => {
                    failures
                        .push(format!("{}\n  ours {ours:?}\n  client-go {theirs:?}", case.name));
                }
            },
        }
    }
    println!("kubeconfigs: answers of plugins: {accepted} accepted, {refused} refused by both");
    for (reason, count) in &meant {
        println!("meant to differ: {count}: {reason}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(accepted >= 80 && refused >= 100, "too few cases");
}

fn credentials(case: &Answer) -> Result {
    let text = BASE64_STANDARD.decode(&case.text).unwrap();
    let answer = parse(&text, &case.version).map_err(|invalid| match invalid {
        InvalidAnswer::Malformed(problem) => problem,
        InvalidAnswer::Version(version) => format!("version {version}"),
        InvalidAnswer::Empty => "empty".into(),
    })?;
    let header =
        answer.authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut certificate = None;
    if let Some(identity) = answer.identity {
        let pem = identity.certificate.as_bytes();
        certificate = Some(BASE64_STANDARD.encode(&tls::certificates(pem)[0]));
    }
    let expired = answer.expires.is_some_and(|time| !expiry::is_valid(time));
    Ok((header.unwrap_or_default(), certificate, expired))
}

/// Run by `script/test`, with the folder in a variable.
#[tokio::test]
#[ignore = "needs the output of test/kubeconfig"]
async fn the_same_plugins_as_kubectl_and_client_go() {
    let Cases { kubercs, path, .. } = cases();
    // An older kubectl has no policy.
    let Some(kubercs) = kubercs else { return };
    let (mut same, mut refused, mut meant) = (0, 0, BTreeMap::new());
    let mut failures = Vec::new();
    for kuberc in &kubercs {
        let variables = [("KUBERC", kuberc.file.to_str().unwrap()), ("PATH", &path)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = variables.into_iter().collect();
        let source = Source { environment, ..Source::default() };
        let text = String::from_utf8_lossy(&fs::read(&kuberc.file).unwrap()).into_owned();
        match (PluginPolicy::load(&source).await, kuberc.error.as_str()) {
            (Ok(policy), "") => {
                for (command, expected) in &kuberc.allowed {
                    if allows(&source, &policy, command).await == *expected {
                        same += 1;
                    } else {
                        failures.push(format!("{command} with {text:?}: kubectl {expected}"));
                    }
                }
            }
            (Err(kubeconfig::Error::InvalidKuberc { .. }), error) if !error.is_empty() => {
                refused += 1;
            }
            (ours, error) => {
                let is_in =
                    |(_, parts): &&(_, [&str; 2])| parts.iter().any(|part| text.contains(part));
                match KUBERC_DIFFERENCES.iter().find(is_in) {
                    Some((reason, _)) => *meant.entry(reason).or_insert(0) += 1,
                    None => {
                        failures.push(format!("{text:?}\n  ours {ours:?}\n  kubectl {error:?}"));
                    }
                }
            }
        }
    }
    println!(
        "kubeconfigs: kubercs: {same} commands with the same verdict, {refused} refused by both"
    );
    for (reason, count) in &meant {
        println!("meant to differ: {count}: {reason}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(same >= 300 && refused >= 30, "too few cases");
}

async fn allows(source: &Source, policy: &PluginPolicy, command: &str) -> bool {
    let mut config = ClientConfig::of_server("https://api.invalid".parse().unwrap());
    config.environment = source.environment.clone();
    config.plugin_policy = policy.clone();
    let exec = Exec {
        command: command.into(),
        arguments: vec![],
        variables: vec![],
        api_version: "client.authentication.k8s.io/v1".into(),
        install_hint: String::new(),
        interactive_mode: InteractiveMode::Never,
        cluster: None,
    };
    match PluginRun::new(&exec, &config, Duration::from_secs(10)).run().await {
        Ok(_) => true,
        Err(
            Error::PluginForbidden { .. }
            | Error::PluginNotFound { .. }
            | Error::PluginNotStarted { .. },
        ) => false,
        Err(error) => unreachable!("{error}"),
    }
}

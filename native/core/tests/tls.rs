//! Connects as Go does: to each server of `test/tls`, by the same kubeconfig as Go's own
//! client, with the same verdict. The program is built by `script/test`, which sets `K8S_CONNECT_TLS_CASES`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_connect_core::{
    access::{
        cluster::{self, Cluster},
        kubeconfig::{self, Selection, Source},
    },
    diagnosis,
};
use serde::Deserialize;

/// Cases that Go accepts and we refuse, and a part of what we say.
const DIFFERENCES: [(&str, &str); 4] = [
    // rustls has no cipher suites without AEAD.
    ("protocol: ECDHE with CBC", "no common cipher suite"),
    // Servers that have it have X25519 as well.
    ("protocol: X25519MLKEM768 only", "no common curve"),
    // Nobody has such keys, and TLS 1.3 none either.
    ("client key: P-224 SEC1, TLS 1.2", "elliptic curve is not P-256, P-384 or P-521"),
    ("client key: P-224 PKCS#8, TLS 1.2", "elliptic curve is not P-256, P-384 or P-521"),
];
/// A message is one sentence or two, with at most a few names of the other side.
const MAX_MESSAGE: usize = 300;

#[derive(Deserialize)]
struct Case {
    name: String,
    kubeconfig: String,
    accepted: bool,
    error: String,
}

/// The program, which serves until its input is closed.
struct Servers(Child);

impl Servers {
    fn start() -> (Self, Vec<Case>) {
        let program = env::var_os("K8S_CONNECT_TLS_CASES").expect("K8S_CONNECT_TLS_CASES");
        let child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut servers = Self(child.unwrap());
        let lines = BufReader::new(servers.0.stdout.take().unwrap()).lines();
        let cases = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let cases = cases.collect();
        (servers, cases)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Our verdict: the message of a refusal.
async fn connect(folder: &Path, kubeconfig: &str) -> Result<(), String> {
    let file = folder.join("kubeconfig");
    fs::write(&file, kubeconfig).unwrap();
    let source = Source { file: Some(file), ..Source::default() };
    let kubeconfig = |error: kubeconfig::Error| error.to_string();
    let config = kubeconfig::resolve(&source, Selection::default()).await.map_err(kubeconfig)?;
    let cluster = Cluster::new(config, Duration::from_secs(20)).map_err(kubeconfig)?;
    match diagnosis::server(&cluster).await {
        Ok(_) => Ok(()),
        // TLS has succeeded: the test server answers every request. Another status is a fault of the test.
        Err(error @ cluster::Error::Refused { .. }) => panic!("{error}"),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
#[ignore = "needs a program in Go: script/test unit"]
async fn servers_are_accepted_and_refused_as_by_go() {
    let (_servers, cases) = Servers::start();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for case in &cases {
        let ours = connect(folder.path(), &case.kubeconfig).await;
        let difference = DIFFERENCES.iter().find(|(name, _)| *name == case.name);
        let expected = case.accepted && difference.is_none();
        let text = ours.as_ref().err().map_or("", String::as_str);
        println!("{} {:<70} {text}", if ours.is_ok() { "accepted" } else { "refused " }, case.name);
        let reason = difference.is_none_or(|(_, part)| text.contains(part));
        let quoted = case.name.starts_with("mutation");
        let readable = text.len() <= MAX_MESSAGE && (quoted || !text.contains(['{', '}']));
        if ours.is_ok() != expected || !reason || !readable {
            wrong.push(format!("{}\n    Go: {}\n    we: {text}", case.name, case.error));
        }
        if ours.is_ok() { accepted += 1 } else { refused += 1 }
    }
    println!("{} cases: {accepted} accepted, {refused} refused", cases.len());
    assert!(accepted > 150 && refused > 150, "{accepted} {refused}");
    for (name, _) in DIFFERENCES {
        assert!(cases.iter().any(|case| case.name == name && case.accepted), "{name}");
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

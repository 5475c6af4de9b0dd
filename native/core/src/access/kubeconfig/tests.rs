#![allow(clippy::panic, clippy::unwrap_used)]

mod credentials;

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::*;
use crate::access::yaml;

const MINE: &str = "
apiVersion: v1
kind: Config
current-context: mine
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443'}}]
users: [{name: u, user: {token: my-secret-token}}]
contexts:
- {name: mine, context: {cluster: c, user: u, namespace: shop}}
- {name: no-cluster, context: {cluster: gone, user: u}}
- {name: no-user, context: {cluster: c, user: gone}}
";

const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

const OTHER: &str = "
current-context: other
clusters: [{name: c, cluster: {server: 'https://127.0.0.2:6443'}}]
users: [{name: e, user: {exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}}}]
contexts: [{name: other, context: {cluster: c}}, {name: cloud, context: {cluster: c, user: e}}]
";

/// Kubeconfig files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> Source {
        Source { file: Some(self.path(name)), ..Source::default() }
    }

    fn list(&self, names: &[&str]) -> Source {
        let list = std::env::join_paths(names.iter().map(|name| self.path(name))).unwrap();
        Source { list: Some(list), ..Source::default() }
    }
}

fn resolved(source: &Source, context: Option<&str>) -> Result<ClientConfig, Error> {
    let selection = Selection { context: context.map(Into::into), namespace: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(resolve(source, selection))
}

#[test]
fn takes_the_current_context_and_its_namespace() {
    let files = Files::new(&[("a", MINE)]);
    let config = resolved(&files.file("a"), None).unwrap();
    assert_eq!(config.context, "mine");
    assert_eq!(config.namespace, "shop");
    assert_eq!(config.kube.cluster_url, "https://127.0.0.1:6443/");
}

#[test]
fn merges_a_list_and_the_first_value_wins() {
    let files = Files::new(&[("a", MINE), ("b", OTHER)]);
    let config = resolved(&files.list(&["gone", "a", "b"]), Some("other")).unwrap();
    assert_eq!(config.kube.cluster_url, "https://127.0.0.1:6443/");
    assert_eq!(config.namespace, "default");
    let config = resolved(&files.list(&["b", "a"]), None).unwrap();
    assert_eq!(config.context, "other");
    assert_eq!(config.kube.cluster_url, "https://127.0.0.2:6443/");
}

#[test]
fn falls_back_to_the_home_directory() {
    let home = tempfile::tempdir().unwrap();
    let source = Source { home: Some(home.path().into()), ..Source::default() };
    let expected = vec![home.path().join(".kube/config")];
    let result = resolved(&source, None);
    assert!(matches!(result, Err(Error::NotFound { paths }) if paths == expected));
    fs::create_dir(home.path().join(".kube")).unwrap();
    fs::write(home.path().join(".kube/config"), MINE).unwrap();
    assert_eq!(resolved(&source, None).unwrap().context, "mine");
}

#[test]
fn a_file_asked_for_by_name_must_exist() {
    let files = Files::new(&[("a", MINE)]);
    let source = Source { file: Some(files.path("gone")), ..files.list(&["a"]) };
    assert!(matches!(resolved(&source, None), Err(Error::NotFound { .. })));
}

#[test]
fn a_folder_is_unreadable() {
    let files = Files::new(&[]);
    let source = Source { file: Some(files.0.path().into()), ..Source::default() };
    assert!(matches!(resolved(&source, None), Err(Error::Unreadable { .. })));
}

#[test]
fn a_malformed_file_tells_the_place_and_no_text() {
    let files = Files::new(&[("a", "kind: Config\nusers: my-secret-token\n"), ("b", "a: [")]);
    for name in ["a", "b"] {
        let error = resolved(&files.file(name), None).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert!(error.to_string().contains("line 2") || name == "b", "{error}");
    }
}

#[test]
fn an_empty_file_has_no_context() {
    let files = Files::new(&[("a", ""), ("b", "current-context: ''")]);
    for name in ["a", "b"] {
        let result = resolved(&files.file(name), None);
        assert!(matches!(result, Err(Error::NoContext { available }) if available.is_empty()));
    }
}

#[test]
fn unknown_names() {
    let files = Files::new(&[("a", MINE)]);
    let result = |context| resolved(&files.file("a"), Some(context));
    assert!(
        matches!(result("mien"), Err(Error::UnknownContext { available, .. }) if available.len() == 3)
    );
    assert!(matches!(result("no-cluster"), Err(Error::UnknownCluster { .. })));
    assert!(matches!(result("no-user"), Err(Error::UnknownUser { .. })));
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn proxies() {
    let named = MINE.replace(":6443'", ":6443', proxy-url: 'http://me:secret@proxy:1'");
    let files = Files::new(&[("a", MINE), ("named", &named)]);
    let proxy = |source: &Source| resolved(source, None).unwrap().proxy;
    assert!(proxy(&files.file("a")).is_none());
    assert_eq!(proxy(&files.file("named")).unwrap().address(), "proxy:1");
    let far = MINE.replace("127.0.0.1", "10.0.0.1");
    let files = Files::new(&[("far", &far)]);
    let with =
        |pairs: &[(&str, &str)]| Source { environment: environment(pairs), ..files.file("far") };
    assert_eq!(proxy(&with(&[("HTTPS_PROXY", "other:2")])).unwrap().from(), "HTTPS_PROXY");
    assert!(proxy(&with(&[("HTTPS_PROXY", "other:2"), ("NO_PROXY", "10.0.0.0/8")])).is_none());
    let error = resolved(&with(&[("HTTPS_PROXY", "ftp://me:secret@other")]), None).unwrap_err();
    assert!(matches!(error, Error::InvalidProxy { from: "HTTPS_PROXY", .. }));
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn the_fingerprint_covers_user_proxy_and_plugin_environment() {
    let plugin = MINE.replace(
        "token: my-secret-token",
        "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}",
    );
    let files = Files::new(&[("a", &MINE.replace("127.0.0.1", "10.0.0.1")), ("plugin", &plugin)]);
    let of = |name: &str, pairs: &[(&str, &str)]| {
        let source = Source { environment: environment(pairs), ..files.file(name) };
        resolved(&source, None).unwrap().fingerprint.unwrap()
    };
    assert_eq!(of("a", &[]), of("a", &[("X", "1")]));
    // A connection that another authority has let in is not used again.
    let insecure = MINE.replace("127.0.0.1", "10.0.0.1");
    let with_authority = |ca: &str| {
        let data = BASE64_STANDARD.encode(ca);
        let text =
            insecure.replace("server:", &format!("certificate-authority-data: {data}, server:"));
        let files = Files::new(&[("a", &text)]);
        resolved(&files.file("a"), None).unwrap().fingerprint.unwrap()
    };
    assert_eq!(with_authority(CA), with_authority(CA));
    assert_ne!(with_authority(CA), with_authority(&[CA, CA].concat()));
    assert_ne!(of("a", &[]), of("a", &[("HTTPS_PROXY", "proxy:1")]));
    assert_ne!(of("a", &[("HTTPS_PROXY", "p:1")]), of("a", &[("HTTPS_PROXY", "me:x@p:1")]));
    assert_eq!(of("plugin", &[("X", "1")]), of("plugin", &[("X", "1")]));
    assert_ne!(of("plugin", &[("X", "1")]), of("plugin", &[("X", "2")]));
}

#[test]
fn only_a_dns_label_is_a_namespace() {
    let long = "n".repeat(64);
    for name in ["", "..", "a/b", "-a", "a-", "A", "a.b", "a b", &long] {
        assert!(!is_dns_label(name), "{name}");
    }
    for name in ["a", "kube-system", "0", &long[1..]] {
        assert!(is_dns_label(name), "{name}");
    }
}

/// As `kubectl --kubeconfig <(…)` has it. A connect resolves it more than once.
#[test]
fn a_kubeconfig_from_a_pipe_is_resolved_again() {
    use std::{io::Write, os::fd::AsRawFd};

    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(MINE.as_bytes()).unwrap();
    drop(writer);
    let file = Some(format!("/dev/fd/{}", reader.as_raw_fd()).into());
    let source = Source { file, ..Source::default() };
    let configs = [resolved(&source, None).unwrap(), resolved(&source, None).unwrap()];
    assert_eq!(configs[0].context, "mine");
    assert!(configs[0].fingerprint.is_some());
    assert_eq!(configs[0].fingerprint, configs[1].fingerprint);
}

/// Each of these is one public report of another tool.
#[test]
fn kubeconfigs_that_kubectl_takes() {
    let encoded = BASE64_STANDARD.encode(CA);
    let wrapped: String = encoded.as_bytes().chunks(40).fold(String::new(), |text, line| {
        text + "        " + std::str::from_utf8(line).unwrap() + "\n"
    });
    let cluster = |more: &str| {
        format!("clusters:\n- name: c\n  cluster:\n    server: https://10.0.0.1:6443\n{more}\n")
    };
    let twice = BASE64_STANDARD.encode(&encoded);
    let users = "users: [{name: u, user: {token: t}}]\n";
    let contexts =
        "contexts: [{name: mine, context: {cluster: c, user: u}}]\ncurrent-context: mine\n";
    let authorities = [
        format!("    certificate-authority-data: |\n{wrapped}"),
        format!("    certificate-authority-data: !!binary {twice}"),
        format!("    certificate-authority: ''\n    certificate-authority-data: {encoded}"),
    ];
    for authority in &authorities {
        let files = Files::new(&[("a", &format!("{}{users}{contexts}", cluster(authority)))]);
        let config = resolved(&files.file("a"), None).unwrap();
        assert_eq!(config.kube.root_cert.unwrap().len(), 1, "{authority}");
    }
    let plain = cluster("");
    let logins = [
        ("client-certificate: '', client-certificate-data: '', token: t", "Token"),
        ("tokenFile: '', token: t", "Token"),
        ("tokenFile: /does/not/exist, token: t", "TokenFile"),
        (
            "username: '', password: '', exec: {command: x, apiVersion: A, interactiveMode: Never}",
            "Exec",
        ),
        (
            "exec: {command: x, apiVersion: A, provideClusterInfo: null, env: [{name: V}], args: null}",
            "Exec",
        ),
        ("exec: null, auth-provider: null, token: null", "None"),
    ];
    for (user, method) in logins {
        let user = user.replace('A', "client.authentication.k8s.io/v1");
        let users = format!("users: [{{name: u, user: {{{user}}}}}]\n");
        let text = format!("kind: Config\nkind: Config\n{plain}{users}{contexts}");
        let files = Files::new(&[("a", &text)]);
        let config = resolved(&files.file("a"), None).unwrap();
        assert_eq!(format!("{:?}", config.login), method, "{user}");
        assert!(config.kube.auth_info.client_certificate_data.is_none(), "{user}");
    }
}

#[test]
fn the_first_current_context_that_is_not_empty_counts() {
    let files = Files::new(&[("a", "current-context: ''"), ("b", MINE)]);
    assert_eq!(resolved(&files.list(&["a", "b"]), None).unwrap().context, "mine");
}

/// The only I/O thread does other work until there is a writer.
#[test]
fn a_fifo_is_read_without_blocking_the_io_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let source = Source { file: Some(path.clone()), ..Source::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = runtime.block_on(async {
        let (config, ()) = tokio::join!(resolve(&source, Selection::default()), async {
            let write = move || fs::write(path, MINE).unwrap();
            tokio::task::spawn_blocking(write).await.unwrap();
        });
        config
    });
    assert_eq!(config.unwrap().context, "mine");
}

/// With one to four bytes that are removed, doubled or replaced.
#[test]
fn no_kubeconfig_is_too_broken_for_an_answer() {
    let alphabet = b"\0\t\n\r !\"#%&'*+,-.0:<>?@[]{|}~\\/eyn\xc3\xa4\xff";
    let exec = "exec: {command: x, args: ['1'], env: [{name: A}], apiVersion: v1}";
    let texts = [MINE.to_owned(), OTHER.to_owned(), MINE.replace("token: my-secret-token", exec)];
    // xorshift: the same cases in each run.
    let mut state = 18_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let (mut valid, mut invalid) = (0, 0);
    for round in 0..3000 {
        let mut bytes = texts[round % texts.len()].clone().into_bytes();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, bytes[at]),
                _ => bytes[at] = alphabet[random(alphabet.len())],
            }
        }
        match yaml::parse(&bytes).and_then(|root| Document::decode(&root)) {
            Ok(document) => {
                for cluster in ["c", "d"].iter().filter_map(|name| document.clusters.get(name)) {
                    let _ = server::Server::parse(&cluster.server);
                }
                valid += 1;
            }
            Err(error) => {
                assert!(!error.to_string().contains("secret"), "{error}");
                invalid += 1;
            }
        }
    }
    assert!(valid > 100 && invalid > 100, "{valid} {invalid}");
}

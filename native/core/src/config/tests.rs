#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

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

fn resolved(source: &Source, context: Option<&str>) -> Result<Access, Error> {
    let selection = Selection { context: context.map(Into::into), namespace: None };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(resolve(source, selection))
}

#[test]
fn takes_the_current_context_and_its_namespace() {
    let files = Files::new(&[("a", MINE)]);
    let access = resolved(&files.file("a"), None).unwrap();
    assert_eq!(access.context, "mine");
    assert_eq!(access.namespace, "shop");
    assert_eq!(access.config.cluster_url, "https://127.0.0.1:6443/");
}

#[test]
fn merges_a_list_and_the_first_value_wins() {
    let files = Files::new(&[("a", MINE), ("b", OTHER)]);
    let access = resolved(&files.list(&["gone", "a", "b"]), Some("other")).unwrap();
    assert_eq!(access.config.cluster_url, "https://127.0.0.1:6443/");
    assert_eq!(access.namespace, "default");
    let access = resolved(&files.list(&["b", "a"]), None).unwrap();
    assert_eq!(access.context, "other");
    assert_eq!(access.config.cluster_url, "https://127.0.0.2:6443/");
}

#[test]
fn falls_back_to_the_home_directory() {
    let home = tempfile::tempdir().unwrap();
    let source = Source { home: Some(home.path().into()), ..Source::default() };
    let expected = vec![home.path().join(".kube/config")];
    let result = resolved(&source, None);
    assert!(matches!(result, Err(Error::NotFound { tried }) if tried == expected));
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
        assert!(matches!(result, Err(Error::NoContext { known }) if known.is_empty()));
    }
}

#[test]
fn names_that_lead_nowhere() {
    let files = Files::new(&[("a", MINE)]);
    let result = |context| resolved(&files.file("a"), Some(context));
    assert!(matches!(result("mien"), Err(Error::UnknownContext { known, .. }) if known.len() == 3));
    assert!(matches!(result("no-cluster"), Err(Error::UnknownCluster { .. })));
    assert!(matches!(result("no-user"), Err(Error::UnknownUser { .. })));
}

#[test]
fn a_login_by_plugin_is_refused_by_name() {
    let files = Files::new(&[("b", OTHER)]);
    let result = resolved(&files.file("b"), Some("cloud"));
    assert!(matches!(result, Err(Error::UnsupportedLogin { method: "exec", .. })));
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

#[test]
fn credentials_that_are_not_there() {
    let missing = MINE.replace("token: my-secret-token", "client-certificate: x, client-key: y");
    let files = Files::new(&[("a", &missing)]);
    let access = resolved(&files.file("a"), None).unwrap();
    let error = crate::cluster::Cluster::new(access, std::time::Duration::MAX).err().unwrap();
    assert!(matches!(error, Error::BadUser { .. }), "{error:?}");
}

//! Which exec plugins may run, by the user's `kuberc`.
//! <https://kubernetes.io/docs/reference/kubectl/kuberc/>

use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::{Error, Source, files::clean};
use crate::access::{
    environment::Environment,
    files,
    yaml::{self, Fields, Invalid},
};

/// The policy, and the file that it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct PluginPolicy {
    rule: Rule,
    file: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
enum Rule {
    #[default]
    AllowAll,
    DenyAll,
    /// Commands: names, or absolute paths.
    Allowlist(Vec<String>),
}

/// `credentialPluginPolicy` and `credentialPluginAllowlist`.
type Preference = (String, Option<Vec<String>>);

/// Why a plugin may not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forbidden {
    pub file: PathBuf,
    pub policy: &'static str,
}

impl PluginPolicy {
    /// The policy for plugins of this environment. A file that nobody named may be missing or invalid, as
    /// for kubectl.
    ///
    /// # Errors
    /// [`Error::InvalidKuberc`] for a file that `KUBERC` names, and for a policy without a meaning.
    pub async fn load(source: &Source) -> Result<Self, Error> {
        let Some((file, named)) = location(source) else { return Ok(Self::default()) };
        let invalid = |problem: String| Error::InvalidKuberc { path: file.clone(), problem };
        let preference = match files::read(&file).await {
            Ok(contents) => preference(&contents),
            Err(error) => Err(error.to_string()),
        };
        let rule = match preference {
            Ok(Some((policy, allowlist))) => rule(&policy, allowlist).map_err(invalid)?,
            Ok(None) => Rule::AllowAll,
            Err(problem) if named => return Err(invalid(problem)),
            Err(problem) => {
                tracing::warn!(file = %file.display(), problem, "kuberc ignored");
                Rule::AllowAll
            }
        };
        Ok(Self { rule, file })
    }

    /// Checks a command, and the program that it names in `PATH`. `find` finds a program in `PATH`.
    pub fn check(
        &self,
        command: &str,
        program: Option<&Path>,
        find: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<(), Forbidden> {
        let forbidden = |policy| Err(Forbidden { file: self.file.clone(), policy });
        let allowed = match &self.rule {
            Rule::AllowAll => return Ok(()),
            Rule::DenyAll => return forbidden("DenyAll"),
            Rule::Allowlist(allowed) => allowed,
        };
        let command = clean(command);
        let is_program = |path: &Path| program == Some(path);
        let by_name = |entry: &String| *entry == command || is_program(Path::new(entry));
        // A name in the list stands for the program of this name in PATH.
        let by_program = |entry: &String| {
            let same_name = program.and_then(Path::file_name) == Path::new(entry).file_name();
            same_name && find(entry).is_some_and(|path| is_program(&path))
        };
        if allowed.iter().any(|entry| by_name(entry) || by_program(entry)) {
            Ok(())
        } else {
            forbidden("Allowlist")
        }
    }
}

/// The file, and whether somebody named it.
fn location(source: &Source) -> Option<(PathBuf, bool)> {
    let environment: &Environment = &source.environment;
    if environment.get("KUBECTL_KUBERC").is_some_and(|gate| gate.eq_ignore_ascii_case("false")) {
        return None;
    }
    match environment.get("KUBERC") {
        Some("off") => None,
        Some(path) => Some((path.into(), true)),
        None => Some((source.home.as_ref()?.join(".kube/kuberc"), false)),
    }
}

/// The policy and the allowlist of the first `Preference` in the file; `None` for an empty file.
fn preference(contents: &[u8]) -> Result<Option<Preference>, String> {
    let text = String::from_utf8_lossy(contents);
    let (mut document, mut tried) = (String::new(), false);
    for line in text.lines().chain(["---"]) {
        let is_end = line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty());
        // For kubectl a line `---` at the beginning is part of the document.
        if !is_end || document.is_empty() {
            document += line;
            document.push('\n');
            continue;
        }
        if !document.trim().is_empty() {
            tried = true;
            if let Ok(Some(found)) = decode(document.as_bytes()) {
                return Ok(Some(found));
            }
        }
        document.clear();
    }
    if tried { Err("there is no valid Preference in it".into()) } else { Ok(None) }
}

fn decode(document: &[u8]) -> Result<Option<Preference>, Invalid> {
    if document.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<IgnoredAny>(document).is_err()
    {
        return Ok(None);
    }
    let root = yaml::parse(document)?;
    let (version, kind) = root.version_and_kind()?;
    let fields = root.fields()?;
    match (version.as_str(), kind.as_str()) {
        ("kubectl.config.k8s.io/v1beta1", "Preference") => {
            let list = fields.get("credentialPluginAllowlist");
            let allowlist = if list.is_null() {
                None
            } else {
                let entries = list.list()?.iter().map(|entry| allowlist_entry(entry.fields()?));
                Some(entries.collect::<Result<_, _>>()?)
            };
            Ok(Some((fields.text("credentialPluginPolicy")?, allowlist)))
        }
        // It has no policy.
        ("kubectl.config.k8s.io/v1alpha1", "Preference") => Ok(Some((String::new(), None))),
        _ => Ok(None),
    }
}

/// `name` is the old name of `command`.
fn allowlist_entry(fields: Fields<'_>) -> Result<String, Invalid> {
    let (name, command) = (fields.text("name")?, fields.text("command")?);
    match (name.is_empty(), command.is_empty()) {
        (false, false) if name != command => {
            Err(Invalid::new(fields.get("name").at, "it differs from command"))
        }
        (_, false) => Ok(command),
        _ => Ok(name),
    }
}

fn rule(policy: &str, allowlist: Option<Vec<String>>) -> Result<Rule, String> {
    match (policy, allowlist) {
        ("" | "AllowAll", None) => Ok(Rule::AllowAll),
        ("DenyAll", None) => Ok(Rule::DenyAll),
        ("" | "AllowAll" | "DenyAll", Some(_)) => Err(
            "it has a credentialPluginAllowlist, and its credentialPluginPolicy is not Allowlist"
                .into(),
        ),
        ("Allowlist", Some(list)) if !list.is_empty() => {
            match list.iter().find(|entry| entry.is_empty() || clean(entry) != **entry) {
                None => Ok(Rule::Allowlist(list)),
                Some(_) => Err(
                    "its credentialPluginAllowlist has an entry whose command is empty or not a \
                            cleaned path"
                        .into(),
                ),
            }
        }
        ("Allowlist", _) => Err(
            "its credentialPluginPolicy is Allowlist, and its credentialPluginAllowlist is empty"
                .into(),
        ),
        _ => Err("its credentialPluginPolicy is not AllowAll, DenyAll or Allowlist".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    async fn policy(kuberc: &str) -> Result<PluginPolicy, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kuberc");
        fs::write(&path, kuberc).unwrap();
        let variables = [("KUBERC".to_owned(), path.to_str().unwrap().to_owned())];
        let environment = variables.into_iter().collect();
        PluginPolicy::load(&Source { environment, ..Source::default() }).await
    }

    fn preference(more: &str) -> String {
        format!("apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n{more}")
    }

    fn find(name: &str) -> Option<PathBuf> {
        ["aws", "/usr/bin/aws"].contains(&name).then(|| "/usr/bin/aws".into())
    }

    fn allows(policy: &PluginPolicy, command: &str) -> bool {
        let program = find(command).or_else(|| Some(command.into()));
        policy.check(command, program.as_deref(), find).is_ok()
    }

    #[tokio::test]
    async fn policies() {
        let all = policy(&preference("")).await.unwrap();
        assert!(allows(&all, "aws"));
        let none = policy(&preference("credentialPluginPolicy: DenyAll")).await.unwrap();
        assert_eq!(none.check("aws", None, find).unwrap_err().policy, "DenyAll");
        for entry in ["command: aws", "name: aws", "command: /usr/bin/aws"] {
            let list = preference(&format!(
                "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{{{entry}}}]"
            ));
            let list = policy(&list).await.unwrap();
            assert!(allows(&list, "aws") && allows(&list, "/usr/bin/aws"), "{entry}");
            assert!(!allows(&list, "/tmp/aws") && !allows(&list, "gke"), "{entry}");
        }
    }

    #[tokio::test]
    async fn the_first_preference_counts() {
        let deny = preference("credentialPluginPolicy: DenyAll");
        let text = format!("kind: Other\n---\n{deny}\n---\n{}", preference(""));
        assert!(!allows(&policy(&text).await.unwrap(), "aws"));
        assert!(allows(&policy("").await.unwrap(), "aws"));
        assert!(policy("---\n").await.is_err());
        let json = r#"{"apiVersion": "kubectl.config.k8s.io/v1beta1", "kind": "Preference"}"#;
        assert!(allows(&policy(json).await.unwrap(), "aws"));
        assert!(policy(&format!("{json} x")).await.is_err());
        let old = "apiVersion: kubectl.config.k8s.io/v1alpha1\nkind: Preference\n\
                   credentialPluginPolicy: DenyAll";
        assert!(allows(&policy(old).await.unwrap(), "aws"));
    }

    #[tokio::test]
    async fn policies_without_a_meaning_are_errors() {
        for more in [
            "credentialPluginPolicy: Deny",
            "credentialPluginPolicy: Allowlist",
            "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: []",
            "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{command: ''}]",
            "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{command: ./aws}]",
            "credentialPluginAllowlist: [{command: aws}]",
            "credentialPluginPolicy: [",
        ] {
            let error = policy(&preference(more)).await.unwrap_err();
            assert!(matches!(error, Error::InvalidKuberc { .. }), "{more}");
        }
    }

    #[tokio::test]
    async fn a_file_that_nobody_named_may_be_missing_and_can_be_turned_off() {
        let home = tempfile::tempdir().unwrap();
        let with = |variables: &[(&str, &str)]| Source {
            home: Some(home.path().into()),
            environment: variables.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            ..Source::default()
        };
        assert!(allows(&PluginPolicy::load(&with(&[])).await.unwrap(), "aws"));
        fs::create_dir(home.path().join(".kube")).unwrap();
        let path = home.path().join(".kube/kuberc");
        fs::write(&path, "[").unwrap();
        assert!(allows(&PluginPolicy::load(&with(&[])).await.unwrap(), "aws"));
        fs::write(&path, preference("credentialPluginPolicy: DenyAll")).unwrap();
        assert!(!allows(&PluginPolicy::load(&with(&[])).await.unwrap(), "aws"));
        for off in [("KUBERC", "off"), ("KUBECTL_KUBERC", "False")] {
            assert!(allows(&PluginPolicy::load(&with(&[off])).await.unwrap(), "aws"));
        }
        let gone = PluginPolicy::load(&with(&[("KUBERC", "/does/not/exist")])).await;
        assert!(matches!(gone, Err(Error::InvalidKuberc { .. })));
    }
}

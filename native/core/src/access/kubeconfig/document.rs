//! The contents of a kubeconfig file, with the types that client-go demands of each field.

use secrecy::{ExposeSecret, SecretString};

use crate::access::yaml::{Fields, Invalid, Node};

/// The extension of a cluster that belongs to its exec plugin.
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// The entries of one file, or of several that were merged.
#[derive(Default)]
pub(super) struct Document {
    pub current_context: String,
    pub clusters: Entries<Cluster>,
    pub users: Entries<User>,
    pub contexts: Entries<Context>,
}

/// Entries with their names, in the order of the file.
pub(super) struct Entries<T>(Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    pub fn get(&self, wanted: &str) -> Option<&T> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, entry)| entry)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, entry)| entry)
    }

    /// The entries that are already there win.
    fn merge(&mut self, others: Self) {
        for (name, entry) in others.0 {
            if self.get(&name).is_none() {
                self.0.push((name, entry));
            }
        }
    }
}

/// Absent texts are empty.
#[derive(Clone)]
pub(super) struct Cluster {
    pub server: String,
    pub tls_server_name: String,
    pub insecure: bool,
    pub authority: FileOrData,
    pub proxy_url: String,
    pub disable_compression: bool,
    /// Null where there is none.
    pub exec_extension: serde_json::Value,
}

/// A file, or its contents, which win.
#[derive(Clone, Default)]
pub(super) struct FileOrData {
    pub path: String,
    pub data: Vec<u8>,
}

impl FileOrData {
    fn read(fields: Fields<'_>, path: &str, data: &str) -> Result<Self, Invalid> {
        Ok(Self { path: fields.text(path)?, data: fields.get(data).bytes()? })
    }

    pub fn is_empty(&self) -> bool {
        self.path.is_empty() && self.data.is_empty()
    }
}

/// Absent texts are empty.
#[derive(Clone, Default)]
pub(super) struct User {
    pub certificate: FileOrData,
    pub key: FileOrData,
    pub token: SecretString,
    pub token_file: String,
    pub name: String,
    pub password: SecretString,
    pub impersonation: Impersonation,
    pub auth_provider: Option<AuthProvider>,
    pub exec: Option<ExecEntry>,
}

impl User {
    pub fn has_credentials(&self) -> bool {
        let texts = [self.token.expose_secret(), self.token_file.as_str(), self.name.as_str()];
        texts.iter().any(|text| !text.is_empty())
            || !self.certificate.is_empty()
            || self.exec.is_some()
            || self.auth_provider.is_some()
    }
}

#[derive(Clone, Default)]
pub(super) struct Impersonation {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Vec<(String, Vec<String>)>,
}

#[derive(Clone)]
pub(super) struct AuthProvider {
    pub name: String,
    pub settings: Vec<(String, String)>,
}

#[derive(Clone)]
pub(super) struct ExecEntry {
    pub command: String,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub api_version: String,
    pub install_hint: String,
    pub provide_cluster_info: bool,
    pub interactive_mode: String,
}

#[derive(Clone)]
pub(super) struct Context {
    pub cluster: String,
    pub user: String,
    pub namespace: String,
}

impl Document {
    /// # Errors
    /// [`Invalid`] where client-go does not decode the file: a field of another type, in an entry that is
    /// not used as well, or two entries with one name.
    pub fn decode(root: &Node) -> Result<Self, Invalid> {
        check_kind(root)?;
        let fields = root.fields()?;
        let preferences = fields.get("preferences").fields()?;
        preferences.flag("colors")?;
        extensions(preferences)?;
        extensions(fields)?;
        Ok(Self {
            current_context: fields.text("current-context")?,
            clusters: entries(fields, "clusters", "cluster", cluster)?,
            users: entries(fields, "users", "user", user)?,
            contexts: entries(fields, "contexts", "context", context)?,
        })
    }

    /// Adds the entries of a file that comes later in the list.
    pub fn merge(&mut self, later: Self) {
        if self.current_context.is_empty() {
            self.current_context = later.current_context;
        }
        self.clusters.merge(later.clusters);
        self.users.merge(later.users);
        self.contexts.merge(later.contexts);
    }
}

/// Both may be left out.
fn check_kind(root: &Node) -> Result<(), Invalid> {
    let (version, kind) = root.version_and_kind()?;
    if !matches!(version.as_str(), "" | "/" | "v1" | "/v1") {
        return Err(Invalid::new(root.at, "its apiVersion is not v1"));
    }
    if !matches!(kind.as_str(), "" | "Config") {
        return Err(Invalid::new(root.at, "its kind is not Config"));
    }
    let fields = root.fields()?;
    fields.text("kind")?;
    fields.text("apiVersion")?;
    Ok(())
}

fn entries<T>(
    fields: Fields<'_>,
    list: &str,
    field: &str,
    decode: fn(Fields<'_>) -> Result<T, Invalid>,
) -> Result<Entries<T>, Invalid> {
    let mut entries = Entries::default();
    for node in fields.get(list).list()? {
        let entry = node.fields()?;
        let (name, value) = (entry.text("name")?, decode(entry.get(field).fields()?)?);
        if entries.get(&name).is_some() {
            return Err(Invalid::new(node.at, "an entry before this one has the same name"));
        }
        entries.0.push((name, value));
    }
    Ok(entries)
}

/// The extensions with a value. Two may not have one name.
fn extensions(fields: Fields<'_>) -> Result<Vec<(String, serde_json::Value)>, Invalid> {
    let mut found: Vec<(String, serde_json::Value)> = Vec::new();
    for node in fields.get("extensions").list()? {
        let entry = node.fields()?;
        let (name, value) = (entry.text("name")?, entry.get("extension"));
        if found.iter().any(|(known, _)| *known == name) {
            return Err(Invalid::new(node.at, "an extension before this one has the same name"));
        }
        if !value.is_null() {
            found.push((name, value.json()));
        }
    }
    Ok(found)
}

fn cluster(fields: Fields<'_>) -> Result<Cluster, Invalid> {
    let extensions = extensions(fields)?;
    let exec_extension = extensions.into_iter().find(|(name, _)| name == EXEC_EXTENSION);
    Ok(Cluster {
        server: fields.text("server")?,
        tls_server_name: fields.text("tls-server-name")?,
        insecure: fields.flag("insecure-skip-tls-verify")?,
        authority: FileOrData::read(fields, "certificate-authority", "certificate-authority-data")?,
        proxy_url: fields.text("proxy-url")?,
        disable_compression: fields.flag("disable-compression")?,
        exec_extension: exec_extension.map(|(_, value)| value).unwrap_or_default(),
    })
}

fn user(fields: Fields<'_>) -> Result<User, Invalid> {
    extensions(fields)?;
    let exec = fields.get("exec");
    let exec = if exec.is_null() { None } else { Some(exec_entry(exec.fields()?)?) };
    let provider = fields.get("auth-provider");
    let auth_provider =
        if provider.is_null() { None } else { Some(auth_provider(provider.fields()?)?) };
    Ok(User {
        certificate: FileOrData::read(fields, "client-certificate", "client-certificate-data")?,
        key: FileOrData::read(fields, "client-key", "client-key-data")?,
        token: fields.text("token")?.into(),
        token_file: fields.text("tokenFile")?,
        name: fields.text("username")?,
        password: fields.text("password")?.into(),
        impersonation: Impersonation {
            user: fields.text("as")?,
            uid: fields.text("as-uid")?,
            groups: fields.list("as-groups", Node::text)?,
            extra: fields
                .map("as-user-extra", |values| values.list()?.iter().map(Node::text).collect())?
                .into_iter()
                .collect(),
        },
        auth_provider,
        exec,
    })
}

fn auth_provider(fields: Fields<'_>) -> Result<AuthProvider, Invalid> {
    let settings = fields.map("config", Node::text)?.into_iter().collect();
    Ok(AuthProvider { name: fields.text("name")?, settings })
}

fn exec_entry(fields: Fields<'_>) -> Result<ExecEntry, Invalid> {
    let variable = |node: &Node| {
        let fields = node.fields()?;
        Ok((fields.text("name")?, fields.text("value")?))
    };
    Ok(ExecEntry {
        command: fields.text("command")?,
        arguments: fields.list("args", Node::text)?,
        variables: fields.list("env", variable)?,
        api_version: fields.text("apiVersion")?,
        install_hint: fields.text("installHint")?,
        provide_cluster_info: fields.flag("provideClusterInfo")?,
        interactive_mode: fields.text("interactiveMode")?,
    })
}

fn context(fields: Fields<'_>) -> Result<Context, Invalid> {
    extensions(fields)?;
    Ok(Context {
        cluster: fields.text("cluster")?,
        user: fields.text("user")?,
        namespace: fields.text("namespace")?,
    })
}

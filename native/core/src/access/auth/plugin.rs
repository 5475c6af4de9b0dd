//! The credentials of an exec plugin, shared by all who use the same entry in the same environment. One
//! caller runs the plugin; the others wait for its result.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Error,
    credentials::Credentials,
    expiry::{BACKOFF, RecentFailure, is_valid},
    plugin_run::PluginRun,
};
use crate::shared_map::SharedMap;

/// Credentials that are expired when they arrive are used for this long: the next run would give no
/// better ones, and the clock may be wrong.
const FRESH: Duration = Duration::from_secs(1);

/// The plugins by entry and environment: another environment may be another user.
static PLUGINS: SharedMap<(String, u64), Arc<Plugin>> = SharedMap::new(64);

#[derive(Default)]
pub(crate) struct Plugin {
    state: tokio::sync::Mutex<State>,
    times: Mutex<RunTimes>,
}

#[derive(Default)]
struct State {
    /// With the time of their arrival.
    credentials: Option<(Instant, Credentials)>,
    failure: RecentFailure,
    /// When the plugin last ran because of a 401.
    renewed: Option<Instant>,
    runs: u64,
}

#[derive(Default)]
struct RunTimes {
    /// Of the run in progress.
    started: Option<Instant>,
    /// How long the last run took.
    took: Option<Duration>,
}

/// The plugin of an entry, in the environment of the run.
pub(crate) fn shared(run: &PluginRun) -> Arc<Plugin> {
    PLUGINS.get_or_insert_with((run.entry(), run.environment().digest()), Arc::default)
}

impl Plugin {
    pub async fn credentials(&self, run: &PluginRun) -> Result<Credentials, Error> {
        let mut state = self.lock(run).await?;
        match state.valid() {
            Some(credentials) => Ok(credentials.clone()),
            None => self.run(&mut state, run).await,
        }
    }

    /// Replaces credentials that the server rejected. `None` where the plugin ran for that a moment
    /// ago: it has no better ones.
    pub async fn renew(
        &self,
        run: &PluginRun,
        rejected: u64,
    ) -> Option<Result<Credentials, Error>> {
        let mut state = match self.lock(run).await {
            Ok(state) => state,
            Err(error) => return Some(Err(error)),
        };
        if let Some(others) = state.valid().filter(|valid| valid.generation != rejected) {
            return Some(Ok(others.clone()));
        }
        if state.renewed.is_some_and(|at| at.elapsed() < BACKOFF) {
            return None;
        }
        state.renewed = Some(Instant::now());
        Some(self.run(&mut state, run).await)
    }

    /// How long the run in progress has taken.
    pub fn running(&self) -> Option<Duration> {
        self.times().started.map(|start| start.elapsed())
    }

    /// How long the last run took.
    pub fn took(&self) -> Option<Duration> {
        self.times().took
    }

    /// Waits until no other caller runs the plugin, no longer than a run may take.
    async fn lock(&self, run: &PluginRun) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        let lock = self.state.lock();
        match run.limit() {
            Some(limit) => tokio::time::timeout(limit, lock).await.map_err(|_| run.too_slow(limit)),
            None => Ok(lock.await),
        }
    }

    async fn run(&self, state: &mut State, run: &PluginRun) -> Result<Credentials, Error> {
        if let Some(failure) = state.failure.get() {
            return Err(failure);
        }
        let timer = Timer::start(self);
        let result = run.run().await;
        drop(timer);
        // Nothing ran: the next caller may have a terminal.
        if !matches!(result, Err(Error::PluginNeedsTerminal { .. })) {
            state.failure.set(&result);
        }
        let credentials = result?;
        state.runs += 1;
        let credentials = Credentials { generation: state.runs, ..credentials };
        Ok(state.credentials.insert((Instant::now(), credentials)).1.clone())
    }

    fn times(&self) -> MutexGuard<'_, RunTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn valid(&self) -> Option<&Credentials> {
        let (arrived, credentials) = self.credentials.as_ref()?;
        let valid = credentials.expires.is_none_or(is_valid) || arrived.elapsed() < FRESH;
        valid.then_some(credentials)
    }
}

/// Times a run. It also ends when its caller stops waiting.
struct Timer<'a>(&'a Plugin);

impl<'a> Timer<'a> {
    fn start(plugin: &'a Plugin) -> Self {
        plugin.times().started = Some(Instant::now());
        Self(plugin)
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let mut times = self.0.times();
        times.took = times.started.take().map(|start| start.elapsed());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::access::kubeconfig::{ClientConfig, Exec, InteractiveMode, PluginPolicy, Source};

    const VERSION: &str = "client.authentication.k8s.io/v1";

    /// A plugin whose token is a variable, and which counts its runs in a file.
    fn script(folder: &Path) -> std::path::PathBuf {
        let (program, runs) = (folder.join("plugin"), folder.join("runs"));
        let answer = format!(
            r#"{{"kind": "ExecCredential", "apiVersion": "{VERSION}", "status": {{"token": "'$WHO'"}}}}"#
        );
        let text = format!("#!/bin/sh\necho >> {}\necho '{answer}'\n", runs.display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn config(variables: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::of_server("https://api.invalid".parse().unwrap());
        let variables = variables.iter().chain(&[("PATH", "/bin:/usr/bin")]);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        config.environment = variables.map(owned).collect();
        config
    }

    fn run(program: &Path, config: &ClientConfig) -> PluginRun {
        let exec = Exec {
            command: program.to_str().unwrap().into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            api_version: VERSION.into(),
            install_hint: String::new(),
            interactive_mode: InteractiveMode::Never,
            cluster: None,
        };
        PluginRun::new(&exec, config, Duration::from_secs(10))
    }

    async fn token(program: &Path, who: &str) -> String {
        let run = run(program, &config(&[("WHO", who)]));
        let credentials = shared(&run).credentials(&run).await.unwrap();
        credentials.authorization.unwrap().to_str().unwrap().to_owned()
    }

    /// Also where an earlier connect has run it.
    #[tokio::test]
    async fn a_plugin_that_the_kuberc_forbids_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path());
        assert_eq!(token(&program, "me").await, "Bearer me");
        let kuberc = folder.path().join("kuberc");
        let text = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n\
                    credentialPluginPolicy: DenyAll\n";
        fs::write(&kuberc, text).unwrap();
        let mut config = config(&[("WHO", "me"), ("KUBERC", kuberc.to_str().unwrap())]);
        let source = Source { environment: config.environment.clone(), ..Source::default() };
        config.plugin_policy = PluginPolicy::load(&source).await.unwrap();
        let run = run(&program, &config);
        let forbidden = shared(&run).credentials(&run).await.err().unwrap();
        assert!(matches!(forbidden, Error::PluginForbidden { policy: "DenyAll", .. }));
        let runs = fs::read_to_string(folder.path().join("runs")).unwrap();
        assert_eq!(runs.lines().count(), 1);
    }

    #[tokio::test]
    async fn two_environments_keep_their_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path());
        for who in ["one", "two", "one", "two"] {
            assert_eq!(token(&program, who).await, format!("Bearer {who}"));
        }
        let runs = fs::read_to_string(folder.path().join("runs")).unwrap();
        assert_eq!(runs.lines().count(), 2);
    }
}

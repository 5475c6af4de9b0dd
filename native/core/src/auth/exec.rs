//! One call of an exec plugin: what it is run with, and what its answer means.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kube::config::{ExecConfig, ExecInteractiveMode};

use tracing::Instrument;

use super::{Credentials, Error, process, protocol};
use crate::{config::Access, environment::Environment};

const VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// All that a run needs.
pub(crate) struct Call {
    exec: ExecConfig,
    context: String,
    environment: Environment,
    /// Whether it may have the terminal.
    terminal: bool,
    /// How long it may take; a user who is asked may take any time.
    limit: Duration,
}

/// Whether an entry of a kubeconfig can be used at all.
pub(crate) fn confirm(exec: &ExecConfig) -> Result<(), String> {
    if exec.command.as_deref().unwrap_or_default().is_empty() {
        return Err("its exec entry names no command".into());
    }
    match exec.api_version.as_deref() {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        version => Err(format!(
            "its exec plugin speaks {}, and what is known is {}; a newer release of the plugin will do",
            version.unwrap_or("no version"),
            VERSIONS.join(" and ")
        )),
    }
}

impl Call {
    pub fn new(exec: &ExecConfig, access: &Access, limit: Duration) -> Self {
        let wanted = exec.interactive_mode != Some(ExecInteractiveMode::Never);
        Self {
            exec: exec.clone(),
            context: access.context.clone(),
            environment: access.environment.clone(),
            terminal: wanted && access.interactive,
            limit,
        }
    }

    /// What two calls have in common that may share an answer; the environment is not in it.
    pub fn entry(&self) -> String {
        let exec = &self.exec;
        let asked = protocol::question(exec, false);
        format!("{:?} {:?} {:?} {asked}", exec.command, exec.args, exec.env)
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    pub fn program(&self) -> &str {
        self.exec.command.as_deref().unwrap_or_default()
    }

    /// How long a caller waits, for a run of somebody else's too.
    pub fn limit(&self) -> Option<Duration> {
        (!self.terminal).then_some(self.limit)
    }

    pub fn too_slow(&self, waited: Duration) -> Error {
        Error::PluginTooSlow {
            program: self.program().into(),
            context: self.context.clone(),
            waited,
        }
    }

    fn not_started(&self, problem: &str) -> Error {
        Error::PluginNotStarted { program: self.program().into(), problem: problem.into() }
    }

    /// Runs the program, once.
    pub async fn run(&self) -> Result<Credentials, Error> {
        let (program, context) = (self.program().to_owned(), self.context.clone());
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) && !self.terminal {
            return Err(Error::PluginNeedsTerminal { program, context });
        }
        let command = process::Command {
            path: self.find()?,
            arguments: self.exec.args.clone().unwrap_or_default(),
            environment: self.variables(),
            terminal: self.terminal,
        };
        let start = Instant::now();
        let running = process::run(&command).instrument(tracing::debug_span!("plugin", program));
        let ended = match self.limit() {
            Some(limit) => tokio::time::timeout(limit, running).await,
            None => Ok(running.await),
        };
        let ended = ended
            .map_err(|_| self.too_slow(start.elapsed()))?
            .map_err(|problem| self.not_started(&problem))?;
        if let Some(status) = ended.failure {
            return Err(Error::PluginFailed { program, context, status, words: ended.words });
        }
        let version = self.exec.api_version.as_deref().unwrap_or_default();
        protocol::answer(&ended.output, version).map_err(|wrong| match wrong {
            protocol::Wrong::Rubbish(problem) => Error::PluginRubbish { program, context, problem },
            protocol::Wrong::Empty => Error::PluginEmpty { program, context },
            protocol::Wrong::Version(seen) => {
                Error::PluginVersion { program, context, expected: version.into(), seen }
            }
        })
    }

    /// The caller's own, the entry's, and what asks the question.
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> =
            self.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let entry = self.exec.env.iter().flatten();
        let entry = entry.filter_map(|pair| {
            Some((pair.get("name")?.clone(), pair.get("value").cloned().unwrap_or_default()))
        });
        let question = protocol::question(&self.exec, self.terminal);
        for (name, value) in entry.chain([("KUBERNETES_EXEC_INFO".into(), question)]) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        variables
    }

    /// A name is looked for in the caller's `PATH`; a path is one already.
    fn find(&self) -> Result<PathBuf, Error> {
        let program = self.program();
        let not_found = |path| Error::PluginNotFound {
            program: program.into(),
            path,
            hint: self.exec.install_hint.clone().filter(|hint| !hint.trim().is_empty()),
        };
        if program.contains('/') {
            let path = PathBuf::from(program);
            return match (path.exists(), is_program(&path)) {
                (true, true) => Ok(path),
                (true, false) => Err(self.not_started("it is not a file that may be executed")),
                (false, _) => Err(not_found(None)),
            };
        }
        let path = self.environment.get("PATH").unwrap_or_default();
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .find(|file| is_program(file))
            .ok_or_else(|| not_found(Some(path.into())))
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

//! One run of an exec plugin.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracing::Instrument;

use super::{
    Error,
    credentials::Credentials,
    exec_credential::{self, InvalidAnswer},
    process,
};
use crate::{
    access::{
        environment::Environment,
        files,
        kubeconfig::{ClientConfig, Exec, Forbidden, InteractiveMode, PluginPolicy, clean},
    },
    text::printable,
};

/// More than any `installHint` needs.
const MAX_HINT: usize = 2000;

/// Everything that a run needs.
pub(crate) struct PluginRun {
    exec: Exec,
    policy: PluginPolicy,
    context: String,
    environment: Environment,
    /// Whether the plugin may use the terminal.
    terminal: bool,
    /// The time limit. There is none with a terminal, as the plugin may ask its user.
    limit: Duration,
}

impl PluginRun {
    pub fn new(exec: &Exec, config: &ClientConfig, limit: Duration) -> Self {
        Self {
            exec: exec.clone(),
            policy: config.plugin_policy.clone(),
            context: config.context.clone(),
            environment: config.environment.clone(),
            terminal: config.interactive && exec.interactive_mode != InteractiveMode::Never,
            limit,
        }
    }

    /// Runs with the same entry, policy and environment share their credentials.
    pub fn entry(&self) -> String {
        let Exec { command, arguments, variables, .. } = &self.exec;
        let info = exec_credential::info(&self.exec, false);
        format!("{command:?} {arguments:?} {variables:?} {info} {:?}", self.policy)
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    pub fn program(&self) -> &str {
        &self.exec.command
    }

    /// How long a caller waits, for the run of another caller as well.
    pub fn limit(&self) -> Option<Duration> {
        (!self.terminal).then_some(self.limit)
    }

    pub fn too_slow(&self, waited: Duration) -> Error {
        Error::PluginTimedOut {
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
        if self.exec.interactive_mode == InteractiveMode::Always && !self.terminal {
            return Err(Error::PluginNeedsTerminal { program, context });
        }
        let command = process::Command {
            path: self.find_program().await?,
            arguments: self.exec.arguments.clone(),
            environment: self.variables(),
            terminal: self.terminal,
        };
        let start = Instant::now();
        let running = process::run(&command).instrument(tracing::debug_span!("plugin", program));
        let finished = match self.limit() {
            Some(limit) => tokio::time::timeout(limit, running).await,
            None => Ok(running.await),
        };
        let finished = finished
            .map_err(|_| self.too_slow(start.elapsed()))?
            .map_err(|problem| self.not_started(&problem))?;
        if let Some(status) = finished.failure {
            let output = finished.stderr;
            return Err(Error::PluginFailed { program, context, status, output });
        }
        let version = self.exec.api_version.as_str();
        exec_credential::parse(&finished.stdout, version).map_err(|invalid| match invalid {
            InvalidAnswer::Malformed(problem) => {
                Error::PluginInvalidOutput { program, context, problem }
            }
            InvalidAnswer::Empty => Error::PluginNoCredentials { program, context },
            InvalidAnswer::Version(actual) => {
                Error::PluginVersion { program, context, expected: version.into(), actual }
            }
        })
    }

    /// The caller's variables, the entry's, and `KUBERNETES_EXEC_INFO`.
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> =
            self.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let entry = self.exec.variables.iter().cloned();
        let info = exec_credential::info(&self.exec, self.terminal);
        for (name, value) in entry.chain([("KUBERNETES_EXEC_INFO".into(), info)]) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        variables
    }

    /// A name is searched in the caller's `PATH`. A path is used as it is.
    async fn find_program(&self) -> Result<PathBuf, Error> {
        let program = clean(self.program());
        let path = self.environment.get("PATH").unwrap_or_default().to_owned();
        let found = files::blocking({
            let (program, path, policy) = (program.clone(), path.clone(), self.policy.clone());
            move || {
                let found = search(&program, &path);
                let allowed = policy.check(&program, found.program(), |name| {
                    search(name, &path).program().map(Path::to_owned)
                });
                Ok((found, allowed))
            }
        });
        let (found, allowed) = found.await.map_err(|error| self.not_started(&error.to_string()))?;
        if let Err(Forbidden { file, policy }) = allowed {
            return Err(Error::PluginForbidden {
                program: self.program().into(),
                path: file,
                policy,
            });
        }
        match found {
            Found::Program(path) => Ok(path),
            Found::NotExecutable => Err(self.not_started("it is not a file that may be executed")),
            Found::Nothing => Err(Error::PluginNotFound {
                path: (!program.contains('/')).then_some(path),
                program: self.program().into(),
                hint: Some(self.exec.install_hint.trim())
                    .filter(|hint| !hint.is_empty())
                    .map(|hint| printable(&hint.replace(char::is_whitespace, " "), MAX_HINT)),
            }),
        }
    }
}

enum Found {
    Program(PathBuf),
    NotExecutable,
    Nothing,
}

impl Found {
    fn program(&self) -> Option<&Path> {
        match self {
            Self::Program(path) => Some(path),
            _ => None,
        }
    }
}

fn search(program: &str, path: &str) -> Found {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match (path.exists(), is_executable(&path)) {
            (true, true) => Found::Program(path),
            (true, false) => Found::NotExecutable,
            (false, _) => Found::Nothing,
        };
    }
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
        .map_or(Found::Nothing, Found::Program)
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

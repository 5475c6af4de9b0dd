//! One run of an exec plugin.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kube::config::{ExecConfig, ExecInteractiveMode};
use tracing::Instrument;

use super::{
    Error,
    credentials::Credentials,
    exec_credential::{self, InvalidAnswer},
    process,
};
use crate::access::{environment::Environment, files};

/// Everything that a run needs.
pub(crate) struct PluginRun {
    exec: ExecConfig,
    context: String,
    environment: Environment,
    /// Whether the plugin may use the terminal.
    terminal: bool,
    /// The time limit. There is none with a terminal, as the plugin may ask its user.
    limit: Duration,
}

impl PluginRun {
    /// `terminal`: whether the caller allows the plugin to use the terminal.
    pub fn new(
        exec: &ExecConfig,
        context: &str,
        environment: &Environment,
        terminal: bool,
        limit: Duration,
    ) -> Self {
        let never = exec.interactive_mode == Some(ExecInteractiveMode::Never);
        Self {
            exec: exec.clone(),
            context: context.into(),
            environment: environment.clone(),
            terminal: terminal && !never,
            limit,
        }
    }

    /// Runs with the same entry and environment share their credentials.
    pub fn entry(&self) -> String {
        let exec = &self.exec;
        let info = exec_credential::info(exec, false);
        format!("{:?} {:?} {:?} {info}", exec.command, exec.args, exec.env)
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    pub fn program(&self) -> &str {
        self.exec.command.as_deref().unwrap_or_default()
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
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) && !self.terminal {
            return Err(Error::PluginNeedsTerminal { program, context });
        }
        let command = process::Command {
            path: self.find_program().await?,
            arguments: self.exec.args.clone().unwrap_or_default(),
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
        let version = self.exec.api_version.as_deref().unwrap_or_default();
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
        let entry = self.exec.env.iter().flatten();
        let entry = entry.filter_map(|pair| {
            Some((pair.get("name")?.clone(), pair.get("value").cloned().unwrap_or_default()))
        });
        let info = exec_credential::info(&self.exec, self.terminal);
        for (name, value) in entry.chain([("KUBERNETES_EXEC_INFO".into(), info)]) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        variables
    }

    /// A name is searched in the caller's `PATH`. A path is used as it is.
    async fn find_program(&self) -> Result<PathBuf, Error> {
        let program = self.program().to_owned();
        let path = self.environment.get("PATH").unwrap_or_default().to_owned();
        let found = files::blocking({
            let (program, path) = (program.clone(), path.clone());
            move || Ok(search(&program, &path))
        });
        match found.await.map_err(|error| self.not_started(&error.to_string()))? {
            Found::Program(path) => Ok(path),
            Found::NotExecutable => Err(self.not_started("it is not a file that may be executed")),
            Found::Nothing => Err(Error::PluginNotFound {
                path: (!program.contains('/')).then_some(path),
                program,
                hint: self.exec.install_hint.clone().filter(|hint| !hint.trim().is_empty()),
            }),
        }
    }
}

enum Found {
    Program(PathBuf),
    NotExecutable,
    Nothing,
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

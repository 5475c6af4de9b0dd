//! The result of the command, one line for the library: `exited 7`, `signaled 15`, or `failed
//! no_seccomp Function not implemented`.

use std::fmt;

/// The message to the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command exited with this exit code.
    Exited(u8),
    /// A signal killed the command.
    Signaled(u8),
    /// The command was not started.
    Failed(Failure, String),
}

/// Why the command was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command was not found.
    NotFound,
    /// The command is not executable.
    NotExecutable,
    /// seccomp user notification is unavailable in the kernel or the container.
    NoSeccomp,
    /// Another supervisor is already active: a second `--exec`, or a container runtime.
    Nested,
    /// ptrace of child processes is not permitted (Yama).
    NoPtrace,
    /// The trial connection was not redirected.
    NotRedirected,
    /// Another system call failed.
    System,
}

const FAILURES: [(Failure, &str, u8); 7] = [
    (Failure::NotFound, "not_found", 127),
    (Failure::NotExecutable, "not_executable", 126),
    (Failure::NoSeccomp, "no_seccomp", 120),
    (Failure::Nested, "nested", 121),
    (Failure::NoPtrace, "no_ptrace", 122),
    (Failure::NotRedirected, "not_redirected", 123),
    (Failure::System, "system", 124),
];

impl Failure {
    /// The name in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        FAILURES.into_iter().find(|entry| entry.0 == self).map_or("", |entry| entry.1)
    }

    /// The failure with this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        FAILURES.into_iter().find(|entry| entry.1 == word).map(|entry| entry.0)
    }
}

impl Report {
    /// The exit code of this program, as a shell would report it for the command.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited(code) => *code,
            Self::Signaled(signal) => 128_u8.saturating_add(*signal),
            Self::Failed(failure, _problem) => {
                FAILURES.into_iter().find(|entry| entry.0 == *failure).map_or(1, |entry| entry.2)
            }
        }
    }

    /// Parses a line; `None` if it is not a report.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.trim_end_matches('\n').split_once(' ')?;
        match kind {
            "exited" => rest.parse().ok().map(Self::Exited),
            "signaled" => rest.parse().ok().map(Self::Signaled),
            "failed" => {
                let (word, problem) = rest.split_once(' ')?;
                Some(Self::Failed(Failure::from_word(word)?, problem.into()))
            }
            _other => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exited {code}"),
            Self::Signaled(signal) => write!(formatter, "signaled {signal}"),
            Self::Failed(failure, problem) => {
                write!(formatter, "failed {} {problem}", failure.word())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reports_round_trip() {
        let failed = FAILURES.map(|(failure, ..)| Report::Failed(failure, "a b".into()));
        let mut reports = vec![Report::Exited(0), Report::Exited(255), Report::Signaled(15)];
        reports.extend(failed);
        for report in reports {
            assert_eq!(Report::parse(&format!("{report}\n")), Some(report));
        }
    }

    #[test]
    fn invalid_lines_are_none() {
        for line in ["", "exited", "exited x", "exited 256", "failed frob x", "failed nested"] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(Report::Exited(7).exit_code(), 7);
        assert_eq!(Report::Signaled(9).exit_code(), 137);
        assert_eq!(Report::Failed(Failure::NotFound, String::new()).exit_code(), 127);
    }
}

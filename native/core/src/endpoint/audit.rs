//! The audit log: a file with one JSON object in each line, for each request to the node in a pod and for its end.
//!
//! A line is on the disk before its request leaves. If it cannot be written, the session ends.

use std::{
    fs::{File, OpenOptions},
    hash::BuildHasher,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use k8s_openapi::jiff::Timestamp;
use nix::{
    fcntl::OFlag,
    unistd::{User, getuid},
};
use serde::Serialize;
use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking};

use super::guard::{Entry, Error, Session};

/// The file of a session.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// Whether the last line may be cut.
    cut: AtomicBool,
    /// The login name of this process's user.
    user: String,
}

impl AuditFile {
    /// Opens the file, or creates it for this user only. A line that was cut by a full disk is ended first.
    ///
    /// # Errors
    /// The error of the operating system, or what else it is, if it is no file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            // A pipe would wait for its reader.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)?;
        let kind = file.metadata()?.file_type();
        if !kind.is_file() {
            let what = if kind.is_fifo() { "a pipe" } else { "a device" };
            return Err(io::Error::other(format!("it is {what}, and has to be a file")));
        }
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        } else if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
            // The name of a new file is on the disk, too, where that can be had.
            let _ = folder.sync_all();
        }
        let user = User::from_uid(getuid()).ok().flatten();
        let user = user.map_or_else(|| getuid().to_string(), |user| user.name);
        Ok(Self { path: path.into(), file, cut: false.into(), user })
    }

    fn append(&self, lines: &[u8], sync: bool) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other("it was removed"));
        }
        if self.cut.load(Ordering::Relaxed) {
            (&self.file).write_all(b"\n")?;
        }
        let written = (&self.file).write_all(lines);
        self.cut.store(written.is_err(), Ordering::Relaxed);
        written?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }
}

/// Who is connected to what.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The context of the kubeconfig.
    pub context: String,
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The name of its node.
    pub node: String,
}

/// The log of a session that is connected to a node.
#[derive(Debug, Clone)]
pub struct AuditLog {
    /// The file.
    pub file: Arc<AuditFile>,
    /// What the session is connected to.
    pub subject: Subject,
    /// The session, which ends if the file cannot be written.
    pub session: Arc<Session>,
}

impl AuditLog {
    /// The log of a new connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionLog {
        // No secret, only different.
        let number = std::hash::RandomState::new().hash_one(0) >> 32;
        let name = format!("{number:08x}");
        ConnectionLog { log: self.clone(), name, begun: false.into(), turn: Arc::default() }
    }
}

/// The log of one connection to the node. The connection ends when this is dropped.
#[derive(Debug)]
pub struct ConnectionLog {
    log: AuditLog,
    name: String,
    /// Whether it has a line.
    begun: AtomicBool,
    /// Held while lines are written, which goes on when nobody waits for it any more. Whether lines are missing.
    turn: Arc<Mutex<bool>>,
}

/// The log cannot be written. The session has the reason: see [`Session::failure`].
#[derive(Debug, PartialEq, Eq)]
pub struct NotWritten;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    connection: &'a str,
    user: &'a str,
    #[serde(flatten)]
    subject: &'a Subject,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl ConnectionLog {
    /// Appends entries, and returns when they are on the disk.
    ///
    /// # Errors
    /// [`NotWritten`]
    pub async fn append(&self, entries: &[Entry]) -> Result<(), NotWritten> {
        if entries.is_empty() {
            return Ok(());
        }
        self.begun.store(true, Ordering::Relaxed);
        let mut missing = self.turn.clone().lock_owned().await;
        if *missing {
            return Err(NotWritten);
        }
        // Also if the task never runs.
        *missing = true;
        let (lines, file) = (self.lines(entries), self.log.file.clone());
        let written = spawn_blocking(move || {
            let written = file.append(&lines, true);
            *missing = written.is_err();
            written
        })
        .await;
        written.map_err(io::Error::other).flatten().map_err(|problem| {
            let file = self.log.file.path.display().to_string();
            self.log.session.fail(Error::AuditNotWritten { file, problem: problem.to_string() });
            NotWritten
        })
    }

    /// Waits for the lines that the other direction is writing.
    ///
    /// # Errors
    /// [`NotWritten`]
    pub async fn written(&self) -> Result<(), NotWritten> {
        if *self.turn.lock().await { Err(NotWritten) } else { Ok(()) }
    }

    fn lines(&self, entries: &[Entry]) -> Vec<u8> {
        let time = format!("{:.6}", Timestamp::now());
        let AuditLog { file, subject, .. } = &self.log;
        let mut lines = Vec::new();
        for entry in entries {
            let (time, connection, user) = (time.clone(), &self.name, &file.user);
            let line = Line { time, connection, user, subject, entry };
            // Strings and numbers in memory cannot fail.
            let _ = serde_json::to_writer(&mut lines, &line);
            lines.push(b'\n');
        }
        lines
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        if !*self.begun.get_mut() {
            return;
        }
        let (lines, file) = (self.lines(&[Entry::Disconnected]), self.log.file.clone());
        let turn = self.turn.clone().lock_owned();
        // Nothing leaves after this, so nobody waits for it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _turn = turn.await;
                spawn_blocking(move || file.append(&lines, false)).await
            });
        }
    }
}

#[cfg(test)]
mod tests;

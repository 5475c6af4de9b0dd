//! A private `AF_UNIX` socket that accepts one connection, from this process only, and connects it to a
//! stream.
//!
//! The socket driver of the BEAM connects to it and so owns its descriptor. The driver never closes a
//! descriptor that it got with `fdopen`, and if we close that, its number may already belong to another
//! connection. No port is opened, and nothing stays in the file system: the socket's file is unlinked
//! before its path is returned, and reached through `/proc/self/fd` instead.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::pump::{Filtering, pump};
use crate::streaming::Stream;

/// How long the BEAM may take to connect.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket that waits for its connection.
pub struct OneShot {
    listener: UnixListener,
    /// Holds the unlinked socket file, for `/proc/self/fd`.
    file: fs::File,
}

impl OneShot {
    /// Creates the socket in `directory`, which stays as it was. Must be called on a runtime.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let private = private_directory(directory)?;
        let path = private.join("s");
        let created = UnixListener::bind(&path).and_then(|listener| {
            let file = fs::OpenOptions::new().read(true).custom_flags(O_PATH).open(&path)?;
            Ok(Self { listener, file })
        });
        // Also after an error.
        let _ = fs::remove_file(&path);
        fs::remove_dir(&private)?;
        created
    }

    /// A path that only this process can connect to.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Waits for the connection, and copies between it and the stream until one of them ends.
    pub async fn serve(self, stream: Stream, filtering: Filtering) {
        if let Ok(Some(socket)) = tokio::time::timeout(ACCEPT_TIMEOUT, self.accept()).await {
            let (reader, writer) = socket.into_split();
            pump(reader, writer, stream, filtering).await;
        }
    }

    async fn accept(self) -> Option<UnixStream> {
        loop {
            let (socket, _) = self.listener.accept().await.ok()?;
            let own = i32::try_from(std::process::id()).ok();
            if socket.peer_cred().ok()?.pid() == own {
                return Some(socket);
            }
        }
    }
}

/// Linux's `O_PATH`, which the standard library has no name for.
const O_PATH: i32 = 0o10_000_000;

fn private_directory(parent: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("k8s_connect-{}-{count}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| path),
        }
    }
}

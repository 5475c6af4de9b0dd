//! A private `AF_UNIX` socket that accepts one connection, from this process only, and connects it to a
//! stream.
//!
//! The socket driver of the BEAM connects to it and so owns its descriptor. The driver never closes a
//! descriptor that it got with `fdopen`, and if we close that, its number may already belong to another
//! connection. No port is opened.
//!
//! On Linux nothing stays in the file system: the socket's file is unlinked before its path is returned, and reached
//! through `/proc/self/fd` instead. Elsewhere the file stays in a directory of its own until the BEAM has connected.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use tokio::net::{UnixListener, UnixStream};

mod halves;

use super::pump::{Filtering, pump};
use crate::streaming::Stream;

/// How long the BEAM may take to connect.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest path of a socket: `sun_path` of macOS has 104 bytes with the final 0, that of Linux 108.
const MAX_PATH: usize = 103;
/// If the path in the given directory would be longer.
const SHORT_DIRECTORY: &str = "/tmp";
/// The name of the socket in its directory.
const SOCKET: &str = "s";

/// A socket that waits for its connection.
pub struct OneShot {
    listener: UnixListener,
    place: Place,
}

/// Where the BEAM finds the socket.
enum Place {
    /// The unlinked socket file, for `/proc/self/fd`.
    Descriptor(OwnedFd),
    Directory(PrivateDirectory),
}

impl OneShot {
    /// Creates the socket in `directory`, which stays as it was. `linux`: whether to unlink the socket's file at once.
    /// Must be called on a runtime.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn new(directory: &Path, linux: bool) -> io::Result<Self> {
        let private = PrivateDirectory::new(directory)?;
        let path = private.socket();
        let listener = UnixListener::bind(&path)?;
        let place = if linux {
            Place::Descriptor(open(&path, O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
        } else {
            Place::Directory(private)
        };
        Ok(Self { listener, place })
    }

    /// A path that only this process can connect to.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match &self.place {
            Place::Descriptor(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Place::Directory(private) => private.socket(),
        }
    }

    /// Waits for the connection, and copies between it and the stream until one of them ends.
    pub async fn serve(self, stream: Stream, filtering: Filtering) {
        if let Ok(Some(socket)) = tokio::time::timeout(ACCEPT_TIMEOUT, self.accept()).await
            && let Ok((reader, writer)) = halves::halves(socket)
        {
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

/// Linux's `O_PATH`. The standard library cannot pass it on musl, where it belongs to `O_ACCMODE`, which it masks.
const O_PATH: OFlag = OFlag::from_bits_retain(0o10_000_000);

/// A directory of this user only. Dropping it removes it, with the socket.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new(parent: &Path) -> io::Result<Self> {
        loop {
            let path = Self::free_name(parent);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|()| Self(path)),
            }
        }
    }

    fn free_name(parent: &Path) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("k8s_connect-{}-{count}", std::process::id());
        let path = parent.join(&name);
        if path.join(SOCKET).as_os_str().len() > MAX_PATH {
            return Path::new(SHORT_DIRECTORY).join(name);
        }
        path
    }

    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests;

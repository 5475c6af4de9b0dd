//! Files that a kubeconfig names, read off the I/O threads and with a time limit. A FIFO without a
//! writer, or a network file system that hangs, must not hold up other sessions.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use crate::shared_map::SharedMap;

/// For one file.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The threads that may hang in a file system. Name resolution needs others of the same pool.
static THREADS: Semaphore = Semaphore::const_new(16);
/// Far more than any kubeconfig, certificate or token has. `/dev/zero` has no end.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// The FIFOs that were read, by device and inode. A FIFO, such as `/dev/fd/63` of a process substitution, has
/// its contents once, and more than one connect needs them.
static FIFOS: SharedMap<(u64, u64), Arc<Mutex<Fifo>>> = SharedMap::new(64);

#[derive(Default)]
struct Fifo {
    contents: Vec<u8>,
    /// When the FIFO changed last. A write changes it, and a new FIFO with an old inode has another one.
    changed: (i64, i64),
}

/// The contents of a file. A FIFO is read to its end, once.
///
/// # Errors
/// The error of the operating system, or [`io::ErrorKind::TimedOut`].
pub(crate) async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let owned = path.to_owned();
    let metadata = metadata(path).await?;
    if metadata.file_type().is_fifo() {
        timeout(TIMEOUT, read_once(&owned, &metadata)).await.map_err(|_| timed_out())?
    } else {
        blocking(move || {
            let mut contents = Vec::new();
            fs::File::open(&owned)?.take(MAX_SIZE + 1).read_to_end(&mut contents)?;
            checked_size(contents)
        })
        .await
    }
}

/// The contents as text.
///
/// # Errors
/// As [`read`], or [`io::ErrorKind::InvalidData`] where it is no UTF-8.
pub(crate) async fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path).await?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

async fn metadata(path: &Path) -> io::Result<fs::Metadata> {
    let path = path.to_owned();
    blocking(move || fs::metadata(path)).await
}

/// One caller reads, and the others wait for the contents.
async fn read_once(path: &Path, found: &fs::Metadata) -> io::Result<Vec<u8>> {
    let changed = |metadata: &fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    let fifo = FIFOS.get_or_insert_with((found.dev(), found.ino()), Arc::default);
    let mut fifo = fifo.lock().await;
    if !fifo.contents.is_empty() && fifo.changed == changed(&metadata(path).await?) {
        return Ok(fifo.contents.clone());
    }
    fifo.contents.clear();
    let contents = read_fifo(path).await?;
    if let Ok(now) = metadata(path).await {
        *fifo = Fifo { contents: contents.clone(), changed: changed(&now) };
    }
    Ok(contents)
}

/// Runs work with files on a thread that may block, and waits no longer than for one file.
///
/// # Errors
/// The work's own, or [`io::ErrorKind::TimedOut`].
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    blocking_on(&THREADS, work).await
}

async fn blocking_on<T: Send + 'static>(
    threads: &'static Semaphore,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let result = async {
        let permit = threads.acquire().await.map_err(io::Error::other)?;
        // Released by the thread, which may outlive the time limit.
        let work = move || {
            let _permit = permit;
            work()
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    };
    timeout(TIMEOUT, result).await.map_err(|_| timed_out())?
}

/// Waits for a writer without a thread. Opened as a file, it would block one until there is a writer.
async fn read_fifo(path: &Path) -> io::Result<Vec<u8>> {
    let receiver = pipe::OpenOptions::new().open_receiver(path)?;
    // Before a writer has come, a read would report the end.
    receiver.readable().await?;
    let mut contents = Vec::new();
    receiver.take(MAX_SIZE + 1).read_to_end(&mut contents).await?;
    checked_size(contents)
}

fn checked_size(contents: Vec<u8>) -> io::Result<Vec<u8>> {
    if contents.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(contents)
}

fn timed_out() -> io::Error {
    let seconds = TIMEOUT.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("timed out after {seconds} s"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Write, sync::mpsc};

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_fifo_is_read_when_its_writer_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let writer = path.clone();
        let (contents, ()) = tokio::join!(read(&path), async {
            let write = || {
                let mut file = fs::OpenOptions::new().write(true).open(writer).unwrap();
                file.write_all(b"one ").unwrap();
                file.write_all(b"two").unwrap();
            };
            spawn_blocking(write).await.unwrap();
        });
        assert_eq!(contents.unwrap(), b"one two");
    }

    #[tokio::test]
    async fn a_pipe_of_this_process_is_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"piped").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        for _ in 0..2 {
            assert_eq!(read(Path::new(&path)).await.unwrap(), b"piped");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifo_without_a_writer_is_given_up_and_blocks_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let start = Instant::now();
        let error = read_fifo_in_time(&path).await.unwrap_err();
        assert_eq!(error.to_string(), "timed out after 5 s");
        assert!(start.elapsed() < TIMEOUT * 2);
    }

    async fn read_fifo_in_time(path: &Path) -> io::Result<Vec<u8>> {
        timeout(TIMEOUT, read_fifo(path)).await.map_err(|_| timed_out())?
    }

    #[tokio::test]
    async fn other_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(read_to_string(&path).await.unwrap(), "text");
        assert_eq!(read(Path::new("/dev/null")).await.unwrap(), b"");
        assert!(read(folder.path()).await.is_err());
        assert_eq!(
            read(&folder.path().join("x")).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let error = read(Path::new("/dev/zero")).await.unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 16 MiB");
    }

    #[tokio::test]
    async fn threads_that_hang_are_limited() {
        static TWO: Semaphore = Semaphore::const_new(2);
        let hang = || {
            let (release, released) = mpsc::channel::<()>();
            let work = move || Ok(released.recv().is_err());
            (release, tokio::spawn(blocking_on(&TWO, work)))
        };
        let (first, first_read) = hang();
        let (second, second_read) = hang();
        while TWO.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // Its caller gives up, and the thread still hangs.
        first_read.abort();
        let mut third = tokio::spawn(blocking_on(&TWO, || Ok(())));
        assert!(timeout(Duration::from_millis(100), &mut third).await.is_err());
        drop(second);
        assert!(second_read.await.unwrap().unwrap());
        third.await.unwrap().unwrap();
        assert_eq!(TWO.available_permits(), 1);
        drop(first);
    }
}

//! A token in a file, which is replaced from time to time.

use std::path::{Path, PathBuf};

use http::HeaderValue;
use tokio::sync::Mutex;

use super::{Error, credentials::bearer};
use crate::access::files;

pub(crate) struct TokenFile {
    path: PathBuf,
    /// The last token that could be read. Some programs remove the file after the first use.
    /// <https://github.com/kubernetes/kubernetes/issues/68164>
    last: Mutex<Option<HeaderValue>>,
}

impl TokenFile {
    /// `token` is used until the file can be read.
    pub fn new(path: &Path, token: Option<HeaderValue>) -> Self {
        Self { path: path.into(), last: Mutex::new(token) }
    }

    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Read for each request: it is a small file, and a stale token is a 401.
    pub async fn read(&self) -> Result<HeaderValue, Error> {
        let mut last = self.last.lock().await;
        let read = files::read_to_string(&self.path).await.map_err(|error| error.to_string());
        let read = read.and_then(|text| match text.trim() {
            "" => Err("it is empty".into()),
            text => bearer(text).ok_or_else(|| "it has a control character".into()),
        });
        match (read, &*last) {
            (Ok(token), _) => Ok(last.insert(token).clone()),
            (Err(_), Some(token)) => Ok(token.clone()),
            (Err(problem), None) => Err(Error::TokenFile { path: self.path(), problem }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, io::Write, os::fd::AsRawFd};

    use super::*;

    #[tokio::test]
    async fn the_file_is_read_each_time_and_its_last_token_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(&path, None);
        assert!(matches!(file.read().await, Err(Error::TokenFile { .. })));
        for token in ["one", "two\n"] {
            fs::write(&path, token).unwrap();
            assert_eq!(file.read().await.unwrap(), format!("Bearer {}", token.trim()));
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(file.read().await.unwrap(), "Bearer two");
    }

    #[tokio::test]
    async fn a_token_beside_the_file_is_used_until_the_file_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(&path, bearer("beside"));
        assert_eq!(file.read().await.unwrap(), "Bearer beside");
        fs::write(&path, "inside").unwrap();
        assert_eq!(file.read().await.unwrap(), "Bearer inside");
    }

    #[tokio::test]
    async fn a_token_from_a_pipe_is_read_once_and_kept() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"piped").unwrap();
        drop(writer);
        let file = TokenFile::new(Path::new(&format!("/dev/fd/{}", reader.as_raw_fd())), None);
        for _ in 0..2 {
            assert_eq!(file.read().await.unwrap(), "Bearer piped");
        }
    }
}

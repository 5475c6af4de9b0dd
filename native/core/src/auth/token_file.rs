//! A token in a file, which somebody else replaces from time to time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use http::HeaderValue;

use super::{Error, bearer};

pub(crate) struct TokenFile {
    path: PathBuf,
    /// The last one that could be read: some take the file away once it was.
    /// <https://github.com/kubernetes/kubernetes/issues/68164>
    last: Mutex<Option<HeaderValue>>,
}

impl TokenFile {
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), last: Mutex::default() }
    }

    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Read at each request: it is a small file, and a stale token is a 401.
    pub fn read(&self) -> Result<HeaderValue, Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = fs::read_to_string(&self.path).map_err(|error| error.to_string());
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

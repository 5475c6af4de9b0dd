#![allow(clippy::unwrap_used)]

use std::{env, os::unix::fs::PermissionsExt};

use super::*;

/// A directory of the test, which is removed when it is dropped.
fn directory() -> PrivateDirectory {
    PrivateDirectory::new(&env::temp_dir()).unwrap()
}

fn entries(directory: &PrivateDirectory) -> usize {
    fs::read_dir(&directory.0).unwrap().count()
}

#[tokio::test]
async fn nothing_is_left_in_the_directory_after_the_connection() {
    for linux in [true, false] {
        let directory = directory();
        let socket = OneShot::new(&directory.0, linux).unwrap();
        assert_eq!(entries(&directory), usize::from(!linux));
        let path = socket.path();
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), socket.accept());
        assert!(client.is_ok() && accepted.is_some());
        assert_eq!(entries(&directory), 0);
        assert!(UnixStream::connect(&path).await.is_err());
    }
}

#[tokio::test]
async fn nothing_is_left_without_a_connection() {
    let directory = directory();
    drop(OneShot::new(&directory.0, false).unwrap());
    assert_eq!(entries(&directory), 0);
}

#[tokio::test]
async fn no_other_user_reaches_the_socket() {
    let directory = directory();
    let socket = OneShot::new(&directory.0, false).unwrap();
    let parent = socket.path().parent().unwrap().to_owned();
    assert_eq!(fs::metadata(parent).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_is_shortened() {
    let directory = directory();
    let long = directory.0.join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    for linux in [true, false] {
        let socket = OneShot::new(&long, linux).unwrap();
        let path = socket.path();
        assert!(path.as_os_str().len() <= MAX_PATH, "{path:?}");
        assert!(UnixStream::connect(&path).await.is_ok());
    }
    fs::remove_dir(long).unwrap();
}

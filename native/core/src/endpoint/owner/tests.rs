#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;

/// A uid without processes.
const OTHER: u32 = 4299;

/// A connection of another user to that address. Only root can make one.
pub fn other_user(address: SocketAddr) -> Child {
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; cat <&3; echo \"$EUID\" at the end",
        address.ip(),
        address.port()
    );
    Command::new("setpriv")
        .args([&format!("--reuid={OTHER}"), "--clear-groups", "bash", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_connection_is_ours_as_long_as_it_is_open() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut owner = Owner::open().unwrap();
        assert!(owner.owns(&accepted));
        // Not dropped: a child that another test starts may have a copy until its exec.
        client.shutdown().await.unwrap();
        assert!(!owner.owns(&accepted));
    }
}

#[tokio::test]
async fn a_connection_of_another_user_is_not_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut owner = Owner::open().unwrap();
    owner.uid += 1;
    assert!(!owner.owns(&accepted));
}

#[tokio::test]
async fn a_connection_that_another_user_makes_is_not_ours() {
    if !geteuid().is_root() {
        return; // only root can change its uid
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = other_user(listener.local_addr().unwrap());
    let (accepted, _) = listener.accept().await.unwrap();
    let mut owner = Owner::open().unwrap();
    assert_eq!(owner.uid_of(&accepted).unwrap(), Some(OTHER));
    assert!(!owner.owns(&accepted));
    drop(accepted);
    assert!(client.wait().unwrap().success());
}

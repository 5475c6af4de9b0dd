#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;

/// A user that nobody is.
const OTHER: u32 = 4299;

/// A connection to that address by another user, which only root can make.
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
        // Not dropped: a child that another test starts may have a copy until it is somebody else.
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

#[test]
fn a_redirected_connection_is_known_by_where_it_wanted_to() {
    const INSIDE: &str = "K8S_CONNECT_TEST_NETWORK";
    let name = "outlet::owner::tests::a_redirected_connection_is_known_by_where_it_wanted_to";
    if std::env::var_os(INSIDE).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                run("ip link set lo up");
                redirected("10.9.9.9", "10.9.9.1", "127.0.0.1:0").await;
                redirected("fd09::9", "fd09::1", "[::1]:0").await;
            },
        );
    } else if geteuid().is_root() {
        // In a network of its own, where a rule does no harm and goes away by itself.
        let inside = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(INSIDE, "yes")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(inside.status.success() && said.contains("1 passed"), "{said}");
    }
}

async fn redirected(pod: &str, laptop: &str, here: &str) {
    let pod = SocketAddr::new(pod.parse().unwrap(), 9100);
    let listener = TcpListener::bind(here).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (family, ip) = (if pod.is_ipv4() { "ip" } else { "ip6" }, pod.ip());
    run(&format!("ip address add {laptop} dev lo nodad"));
    run(&format!("ip route add {ip} dev lo src {laptop}"));
    run(&format!("nft add table {family} test"));
    run(&format!("nft add chain {family} test out {{ type nat hook output priority -100 ; }}"));
    run(&format!(
        "nft add rule {family} test out {family} daddr {ip} tcp dport 9100 redirect to :{port}"
    ));

    let mut owner = Owner::open().unwrap();
    let mut client = TcpStream::connect(pod).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert_eq!(original_destination(&accepted, accepted.local_addr().unwrap()), Some(pod));
    assert!(owner.owns(&accepted));
    client.shutdown().await.unwrap();
    assert!(!owner.owns(&accepted));

    // And a direct one beside it, with the rule there.
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert!(owner.owns(&accepted));

    let mut stranger = other_user(pod);
    let (accepted, _) = listener.accept().await.unwrap();
    assert_eq!(owner.uid_of(&accepted).unwrap(), Some(OTHER));
    assert!(!owner.owns(&accepted));
    drop(accepted);
    assert!(stranger.wait().unwrap().success());
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

//! The real program in a network namespace of its own, and what a BEAM would say to it.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use k8s_connect_wire::{self as wire, Answer, Redirect, Refusal, Request};

/// Runs `body` in a process in a new network namespace, with two ends of a cable in it: 10.9.0.1
/// and `fd09::1` are ours, and behind the other end nobody answers.
pub fn in_namespace(test: &str, body: impl FnOnce()) {
    const MARK: &str = "K8S_CONNECT_IN_NAMESPACE";
    if std::env::var_os(MARK).is_some() {
        run("ip link set lo up");
        run("ip link add cable type veth peer name end");
        run("ip link set end up");
        run("ip link set cable up");
        run("ip addr add 10.9.0.1/16 dev cable");
        run("ip addr add fd09::1/64 dev cable nodad");
        // The kernel makes it ours a moment later.
        let ours = || run("ip -6 route show table local").contains("fd09::1");
        assert!((0..10_000).any(|_| ours()), "it never has its IPv6 address");
        body();
        return;
    }
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let this = std::env::current_exe().expect("our own path");
    let output = unshare
        .arg("--net")
        .arg(this)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .expect("unshare runs");
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = lossy(&output.stdout) + &lossy(&output.stderr);
    assert!(output.status.success(), "{test} in its namespace: {said}");
    // A benchmark's figures; a test's output is captured.
    print!("{said}");
}

/// Runs a command and answers what it prints.
pub fn run(words: &str) -> String {
    let mut parts = words.split(' ');
    let output = Command::new(parts.next().expect("a command"))
        .args(parts)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// All that a session can leave in the kernel: tables, devices and routes of ours.
pub fn left() -> String {
    let tables = run("nft list tables");
    let devices = run("ip -o link");
    let routes = run("ip route show table all") + &run("ip -6 route show table all");
    let ours = |line: &&str| line.contains("k8s_connect") || line.contains("kc");
    (tables + &devices + &routes).lines().filter(ours).collect()
}

/// A helper that was started and greeted.
pub struct Helper {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: ChildStdout,
}

impl Helper {
    /// Starts one and says nothing.
    pub fn spawn() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s_connect_helper"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the helper starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("a pipe");
        Self { child, stdin, stdout }
    }

    /// Starts one that lives as long as this process.
    pub fn start() -> Self {
        Self::start_for(std::process::id())
    }

    /// Starts one that lives as long as the process `pid`.
    pub fn start_for(pid: u32) -> Self {
        let mut helper = Self::spawn();
        let answer = helper.ask(&Request::Hello { major: wire::MAJOR, minor: 0, pid });
        let Answer::Hello { mechanism: Some(mechanism), .. } = &answer else {
            panic!("{answer:?}");
        };
        assert_eq!(mechanism, "nft");
        helper
    }

    pub fn ask(&mut self, request: &Request) -> Answer {
        self.send(&wire::encode(request));
        self.answer()
    }

    pub fn send(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("short");
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(&[&length.to_be_bytes(), body].concat()).expect("it reads");
    }

    pub fn answer(&mut self) -> Answer {
        let mut length = [0; 4];
        self.stdout.read_exact(&mut length).expect("an answer");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stdout.read_exact(&mut body).expect("all of it");
        wire::answer(&body).expect("an answer")
    }

    pub fn apply(&mut self, redirects: &[Redirect]) -> Result<Answer, Refusal> {
        match self.ask(&Request::Apply { id: 7, redirects: redirects.to_vec() }) {
            Answer::Refused { id: Some(7), refusal } => Err(refusal),
            answer @ Answer::Applied { id: 7, .. } => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// Closes its input and waits for its end.
    pub fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

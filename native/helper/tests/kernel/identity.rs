//! Processes of all kinds: a process is redirected if and only if an ordinary process of the user
//! may trace it. Each test checks both.

use std::{
    fs,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::{
    cases::{Case, Verdict, skip},
    client::{Client, connect, is_redirected, reached_pod, user_may_trace},
    environment::{Environment, POD6, RunAs, SESSION, USER},
    helper::Helper,
    process::Process,
    sys,
};

/// The expected result for a kind of process.
#[derive(Clone, Copy)]
enum Expected {
    /// The user may trace it, and it is redirected.
    Redirected,
    /// The user may not trace it, and it is not redirected.
    NotRedirected,
    /// The user may trace it, but it is not redirected, because of the socket's owner or the
    /// network.
    TraceableNotRedirected,
}
use Expected::{NotRedirected, Redirected, TraceableNotRedirected};

type Prepare = fn(Client) -> Client;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("identity: no redirects without a helper", no_helper)];
    let kinds = users_programs().chain(privileged()).chain(other_identities()).chain(namespaces());
    cases.extend(kinds.chain(rings()).map(|(name, expected, prepare)| {
        Case::maybe(&format!("identity: {name}"), move |environment| {
            check(environment, expected, prepare)
        })
    }));
    cases.extend([
        handed(
            "root's socket, the user's process",
            &RunAs::root(),
            &RunAs::user(),
            TraceableNotRedirected,
        ),
        handed(
            "another's socket, the user's process",
            &RunAs::other(),
            &RunAs::user(),
            TraceableNotRedirected,
        ),
        handed("the user's socket, root's process", &RunAs::user(), &RunAs::root(), NotRedirected),
        handed(
            "the user's socket, another's process",
            &RunAs::user(),
            &RunAs::other(),
            NotRedirected,
        ),
        handed("the user's socket, the user's process", &RunAs::user(), &RunAs::user(), Redirected),
    ]);
    cases
}

type Kinds = Vec<(&'static str, Expected, Prepare)>;

fn users_programs() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("the user's program", Redirected, |client| client),
        ("the user's program, IPv6", Redirected, |client| client.to(POD6)),
        ("no_new_privs", Redirected, |client| client.run_as(&RunAs::user().and("nnp"))),
        ("not dumpable", NotRedirected, |client| client.options(&["dumpable=0"])),
        ("not dumpable, and dumpable again", Redirected, |client| {
            client.options(&["dumpable=0", "dumpable=1"])
        }),
        ("a program that its user cannot read", NotRedirected, |client| {
            let program = unreadable(&client);
            client.program(program)
        }),
        ("ambient capability", NotRedirected, |client| {
            client.run_as(&RunAs::root().and("keepcaps").and("user=4300").and("ambient=13"))
        }),
        ("other gid", NotRedirected, |client| client.run_as(&RunAs::root().and("user=4300:4555"))),
        ("the user's socket from before exec", Redirected, |client| {
            client.run_as(&RunAs::user().first("socket=4300")).options(&["inherited"])
        }),
        ("root's socket from before exec", TraceableNotRedirected, |client| {
            client.run_as(&RunAs::user().first("socket=0")).options(&["inherited"])
        }),
    ];
    kinds.into_iter()
}

fn privileged() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("setuid root, IPv4", NotRedirected, setuid),
        ("setuid root, IPv6", NotRedirected, |client| setuid(client).to(POD6)),
        ("setuid root after seteuid(user)", NotRedirected, |client| {
            setuid(client).options(&["drop-euid"])
        }),
        ("setuid root after seteuid(user), dumpable", NotRedirected, |client| {
            setuid(client).options(&["drop-euid", "dumpable=1"])
        }),
        ("setuid root with a socket of the user's", NotRedirected, |client| {
            setuid(client.run_as(&RunAs::user().first("socket=4300"))).options(&["inherited"])
        }),
        ("setuid root under no_new_privs is the user's", Redirected, |client| {
            setuid(client.run_as(&RunAs::user().and("nnp")))
        }),
        ("only the effective uid is another's", NotRedirected, |client| {
            setuid_other(client, &["uids=4300:4301:4300", "setfsuid=4300"])
        }),
        ("only the saved uid is another's", NotRedirected, |client| {
            setuid_other(client, &["uids=4300:4300:4301"])
        }),
        ("only the effective gid is another's", NotRedirected, |client| {
            setgid(client).options(&["gids=4300:4444:4300", "setfsgid=4300", "dumpable=1"])
        }),
        // Stricter than ptrace, which does not check the fsuid.
        ("only the fsuid is another's", TraceableNotRedirected, |client| {
            stripped_root(client, "setfsuid=4301")
        }),
        ("only the fsgid is another's", TraceableNotRedirected, |client| {
            stripped_root(client, "setfsgid=4444")
        }),
        ("setgid", NotRedirected, setgid),
        ("setgid, dumpable", NotRedirected, |client| setgid(client).options(&["dumpable=1"])),
        ("setgid after setegid(user), dumpable", NotRedirected, |client| {
            setgid(client).options(&["drop-egid", "dumpable=1"])
        }),
        ("setgid that made all gids equal and started again", NotRedirected, |client| {
            setgid(client).options(&["equal-gids"])
        }),
        ("file capabilities", NotRedirected, capable),
        ("file capabilities, dumpable", NotRedirected, |client| {
            capable(client).options(&["dumpable=1"])
        }),
        ("file capability of the upper half, dumpable", NotRedirected, |client| {
            let program = client.environment().highly_capable();
            client.program(program).options(&["dumpable=1"])
        }),
        ("file capabilities, dropped", NotRedirected, |client| {
            capable(client).options(&["drop-caps"])
        }),
        ("file capabilities, dropped, dumpable", Redirected, |client| {
            capable(client).options(&["drop-caps", "dumpable=1"])
        }),
    ];
    kinds.into_iter()
}

fn other_identities() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("another user", NotRedirected, |client| client.run_as(&RunAs::other())),
        ("root", NotRedirected, root),
        ("root with fsuid = user", NotRedirected, |client| {
            root(client).options(&["setfsuid=4300"])
        }),
        ("root after seteuid(user)", NotRedirected, |client| {
            root(client).options(&["seteuid=4300"])
        }),
        ("root after seteuid(user), dumpable", NotRedirected, |client| {
            root(client).options(&["seteuid=4300", "dumpable=1"])
        }),
        ("root that became the user without exec", NotRedirected, |client| {
            root(client).options(&["become=4300"])
        }),
        ("root that became the user without exec, dumpable", Redirected, |client| {
            root(client).options(&["become=4300", "dumpable=1"])
        }),
        ("the user in another network namespace", TraceableNotRedirected, |client| {
            let netns = format!("netns={}", client.environment().pod.pid());
            client.run_as(&RunAs::user().first(&netns))
        }),
    ];
    kinds.into_iter()
}

fn namespaces() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("own user namespace", Redirected, |client| client.inner(&["userns=4300"])),
        ("own user namespace, as its root", Redirected, |client| client.inner(&["userns=0"])),
        ("nested user namespace of the user", Redirected, |client| {
            client.inner(&["userns=4300", "userns=4300"])
        }),
        ("own user namespaces, four deep, as root", Redirected, |client| {
            client.inner(&["userns=0", "userns=0", "userns=0", "userns=0"])
        }),
        // Executed in the namespace, so the namespace owns its memory and the user may trace it.
        ("own user namespace, not dumpable", Redirected, |client| {
            client.inner(&["userns=4300"]).options(&["dumpable=0"])
        }),
        ("own user namespace without exec", Redirected, |client| client.options(&["userns=0"])),
        ("own user namespace without exec, not dumpable", NotRedirected, |client| {
            client.options(&["userns=0", "dumpable=0"])
        }),
        // Stricter than ptrace: its UID is another one, as in a rootless container.
        ("subordinate uid in a user namespace of the user", TraceableNotRedirected, |client| {
            client.run_as(&RunAs::root().and("subuserns=4300"))
        }),
        ("setuid root in a user namespace of the user", Redirected, |client| {
            setuid(client).inner(&["userns=4300"])
        }),
        ("root's user namespace", NotRedirected, |client| {
            client.run_as(&RunAs::root().and("rootuserns=4300"))
        }),
        ("own user namespace in root's", NotRedirected, |client| {
            client.run_as(&RunAs::root().and("rootuserns=4300")).inner(&["userns=4300"])
        }),
    ];
    kinds.into_iter()
}

fn rings() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("the user's io_uring", Redirected, |client| client.options(&["uring"])),
        ("the user's io_uring, worker thread", Redirected, |client| {
            client.options(&["uring-worker"])
        }),
        ("the user's io_uring, polling thread", Redirected, |client| {
            client.options(&["uring-poller"])
        }),
        ("root's io_uring with the user's credentials", NotRedirected, |client| {
            root(client).options(&["personality=4300"])
        }),
        ("root's io_uring with the user's credentials, worker thread", NotRedirected, |client| {
            root(client).options(&["personality=4300", "uring-worker"])
        }),
    ];
    kinds.into_iter()
}

fn setuid(client: Client) -> Client {
    let program = client.environment().setuid();
    client.program(program)
}

/// With a socket of the user, without capabilities, and dumpable, so that only the UID differs.
fn setuid_other<'environment>(
    client: Client<'environment>,
    options: &[&str],
) -> Client<'environment> {
    let program = client.environment().setuid_other();
    let client = client.run_as(&RunAs::user().first("socket=4300")).program(program);
    client.options(options).options(&["dumpable=1", "inherited"])
}

/// The same, started by root, which switches to the user except for one property.
fn stripped_root<'environment>(client: Client<'environment>, but: &str) -> Client<'environment> {
    let client = client.run_as(&RunAs::root().and("socket=4300"));
    client.options(&["keep-caps", "become=4300", "only-setid", but]).options(&[
        "drop-caps",
        "dumpable=1",
        "inherited",
    ])
}

fn setgid(client: Client) -> Client {
    let program = client.environment().setgid();
    client.program(program)
}

fn capable(client: Client) -> Client {
    let program = client.environment().capable();
    client.program(program)
}

fn root(client: Client) -> Client {
    client.run_as(&RunAs::root())
}

fn unreadable(client: &Client) -> PathBuf {
    client.environment().unreadable()
}

fn no_helper(environment: &Environment) {
    for to in [crate::environment::POD4, POD6, crate::environment::MAPPED] {
        let said = crate::client::connect_as_user(environment, to);
        assert!(reached_pod(&said), "{to}: {said}");
    }
}

/// Why Yama would deny ptrace before the compared check; `None` if it does not.
fn yama() -> Option<String> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    let scope = scope.trim();
    (scope > "1").then(|| format!("kernel.yama.ptrace_scope is {scope}"))
}

fn check(environment: &Environment, expected: Expected, prepare: Prepare) -> Verdict {
    if let Some(why) = yama() {
        return skip(why);
    }
    let helper = Helper::start(environment);
    let mut probe = prepare(Client::new(environment)).start();
    let verdict = judge(environment, &mut probe, expected);
    helper.stop();
    verdict
}

fn judge(environment: &Environment, probe: &mut Process, expected: Expected) -> Verdict {
    let traced = user_may_trace(environment, probe.pid());
    let said = connect(probe);
    if said == "error ENOSYS" {
        return skip("the kernel has no io_uring");
    }
    let redirected = is_redirected(&said);
    assert!(redirected || reached_pod(&said), "{said}");
    match expected {
        Redirected => assert!(redirected && traced, "traced: {traced}, {said}"),
        NotRedirected => assert!(!redirected && !traced, "traced: {traced}, {said}"),
        TraceableNotRedirected => assert!(!redirected && traced, "traced: {traced}, {said}"),
    }
    Ok(())
}

/// One process creates a socket, another receives and connects it.
fn handed(name: &str, maker: &RunAs, connector: &RunAs, expected: Expected) -> Case {
    let (maker, connector) = (maker.within(SESSION), connector.within(SESSION));
    Case::maybe(&format!("identity: sent over: {name}"), move |environment| {
        let helper = Helper::start(environment);
        let socket = socket_of(environment, &maker);
        let mut probe = Client::new(environment).exactly(&connector).options(&["received"]).spawn();
        send(&probe, &socket);
        assert_eq!(probe.line(), "ready");
        let verdict = judge(environment, &mut probe, expected);
        helper.stop();
        verdict
    })
}

fn receive(from: &Process) -> OwnedFd {
    let mut byte = [0];
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let (from, flags) = (from.stdin().as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
    let message = recvmsg::<()>(from, &mut parts, Some(&mut space), flags).expect("a message");
    let first = message.cmsgs().expect("whole").next();
    let Some(ControlMessageOwned::ScmRights(sockets)) = first else { panic!("no socket") };
    sys::own(sockets[0])
}

/// Sends a socket to a probe with the option `socket`.
pub fn send(to: &Process, socket: &OwnedFd) {
    let sockets = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&sockets)];
    let to = to.stdin().as_raw_fd();
    sendmsg::<()>(to, &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).expect("sent");
}

/// Creates a socket as this user, for [`send`].
pub fn socket_of(environment: &Environment, run_as: &RunAs) -> OwnedFd {
    let mut made =
        Process::start(environment.command(run_as, &environment.plain()).arg("make-socket"));
    let socket = receive(&made);
    assert_eq!(made.line(), "up");
    socket
}

const _: () = assert!(USER == 4300, "the options above name it");

//! Whose process it is: redirected if and only if a plain process of the user could trace that very
//! process. Both are tried, for each kind of process that there is.

use std::{
    fs,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::{
    client::{Client, connect, is_at_pod, is_led, user_may_trace},
    ground::{Ground, POD6, SESSION, USER, Who},
    helper::Helper,
    process::Process,
    rows::{Row, Verdict, skip},
    sys,
};

/// What is known about a kind of process.
#[derive(Clone, Copy)]
enum Expected {
    /// The user may trace it, and it is led.
    Led,
    /// The user may not trace it, and it is not led.
    Untouched,
    /// The user may trace it, but something else decides: whose the socket is, or which network.
    UntouchedThough,
}
use Expected::{Led, Untouched, UntouchedThough};

type Prepare = fn(Client) -> Client;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![Row::new("identity: without a helper nobody is led", no_helper)];
    let kinds = users_programs().chain(privileged()).chain(somebody_else()).chain(namespaces());
    rows.extend(kinds.chain(rings()).map(|(name, expected, prepare)| {
        Row::maybe(&format!("identity: {name}"), move |ground| check(ground, expected, prepare))
    }));
    rows.extend([
        handed("root's socket, the user's process", &Who::root(), &Who::user(), UntouchedThough),
        handed(
            "another's socket, the user's process",
            &Who::other(),
            &Who::user(),
            UntouchedThough,
        ),
        handed("the user's socket, root's process", &Who::user(), &Who::root(), Untouched),
        handed("the user's socket, another's process", &Who::user(), &Who::other(), Untouched),
        handed("the user's socket, the user's process", &Who::user(), &Who::user(), Led),
    ]);
    rows
}

type Kinds = Vec<(&'static str, Expected, Prepare)>;

fn users_programs() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("the user's program", Led, |client| client),
        ("the user's program, IPv6", Led, |client| client.to(POD6)),
        ("no_new_privs", Led, |client| client.who(&Who::user().and("nnp"))),
        ("not dumpable", Untouched, |client| client.options(&["dumpable=0"])),
        ("not dumpable, and dumpable again", Led, |client| {
            client.options(&["dumpable=0", "dumpable=1"])
        }),
        ("a program that its user cannot read", Untouched, |client| {
            let program = unreadable(&client);
            client.program(program)
        }),
        ("ambient capability", Untouched, |client| {
            client.who(&Who::root().and("keepcaps").and("user=4300").and("ambient=13"))
        }),
        ("other gid", Untouched, |client| client.who(&Who::root().and("user=4300:4555"))),
        ("the user's socket from before exec", Led, |client| {
            client.who(&Who::user().first("socket=4300")).options(&["inherited"])
        }),
        ("root's socket from before exec", UntouchedThough, |client| {
            client.who(&Who::user().first("socket=0")).options(&["inherited"])
        }),
    ];
    kinds.into_iter()
}

fn privileged() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("setuid root, IPv4", Untouched, setuid),
        ("setuid root, IPv6", Untouched, |client| setuid(client).to(POD6)),
        ("setuid root after seteuid(user)", Untouched, |client| {
            setuid(client).options(&["drop-euid"])
        }),
        ("setuid root after seteuid(user), dumpable", Untouched, |client| {
            setuid(client).options(&["drop-euid", "dumpable=1"])
        }),
        ("setuid root with a socket of the user's", Untouched, |client| {
            setuid(client.who(&Who::user().first("socket=4300"))).options(&["inherited"])
        }),
        ("setuid root under no_new_privs is the user's", Led, |client| {
            setuid(client.who(&Who::user().and("nnp")))
        }),
        ("only the effective uid is another's", Untouched, |client| {
            setuid_other(client, &["uids=4300:4301:4300", "setfsuid=4300"])
        }),
        ("only the saved uid is another's", Untouched, |client| {
            setuid_other(client, &["uids=4300:4300:4301"])
        }),
        ("only the effective gid is another's", Untouched, |client| {
            setgid(client).options(&["gids=4300:4444:4300", "setfsgid=4300", "dumpable=1"])
        }),
        // Stricter than the rule, which does not ask for them.
        ("only the fsuid is another's", UntouchedThough, |client| {
            stripped_root(client, "setfsuid=4301")
        }),
        ("only the fsgid is another's", UntouchedThough, |client| {
            stripped_root(client, "setfsgid=4444")
        }),
        ("setgid", Untouched, setgid),
        ("setgid, dumpable", Untouched, |client| setgid(client).options(&["dumpable=1"])),
        ("setgid after setegid(user), dumpable", Untouched, |client| {
            setgid(client).options(&["drop-egid", "dumpable=1"])
        }),
        ("setgid that made all gids equal and started again", Untouched, |client| {
            setgid(client).options(&["equal-gids"])
        }),
        ("file capabilities", Untouched, capable),
        ("file capabilities, dumpable", Untouched, |client| {
            capable(client).options(&["dumpable=1"])
        }),
        ("file capability of the upper half, dumpable", Untouched, |client| {
            let program = client.ground().highly_capable();
            client.program(program).options(&["dumpable=1"])
        }),
        ("file capabilities, dropped", Untouched, |client| capable(client).options(&["drop-caps"])),
        ("file capabilities, dropped, dumpable", Led, |client| {
            capable(client).options(&["drop-caps", "dumpable=1"])
        }),
    ];
    kinds.into_iter()
}

fn somebody_else() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("another user", Untouched, |client| client.who(&Who::other())),
        ("root", Untouched, root),
        ("root with fsuid = user", Untouched, |client| root(client).options(&["setfsuid=4300"])),
        ("root after seteuid(user)", Untouched, |client| root(client).options(&["seteuid=4300"])),
        ("root after seteuid(user), dumpable", Untouched, |client| {
            root(client).options(&["seteuid=4300", "dumpable=1"])
        }),
        ("root that became the user without exec", Untouched, |client| {
            root(client).options(&["become=4300"])
        }),
        ("root that became the user without exec, dumpable", Led, |client| {
            root(client).options(&["become=4300", "dumpable=1"])
        }),
        ("the user in another network namespace", UntouchedThough, |client| {
            let netns = format!("netns={}", client.ground().pod.pid());
            client.who(&Who::user().first(&netns))
        }),
    ];
    kinds.into_iter()
}

fn namespaces() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("own user namespace", Led, |client| client.inner(&["userns=4300"])),
        ("own user namespace, as its root", Led, |client| client.inner(&["userns=0"])),
        ("own user namespace in one's own", Led, |client| {
            client.inner(&["userns=4300", "userns=4300"])
        }),
        ("own user namespaces, four deep, as root", Led, |client| {
            client.inner(&["userns=0", "userns=0", "userns=0", "userns=0"])
        }),
        // Started in there, its memory is the namespace's, and so its owner's.
        ("own user namespace, not dumpable", Led, |client| {
            client.inner(&["userns=4300"]).options(&["dumpable=0"])
        }),
        ("own user namespace without exec", Led, |client| client.options(&["userns=0"])),
        ("own user namespace without exec, not dumpable", Untouched, |client| {
            client.options(&["userns=0", "dumpable=0"])
        }),
        // Stricter than the rule: its uid is another one, as in a container without root.
        ("subordinate uid in one's own user namespace", UntouchedThough, |client| {
            client.who(&Who::root().and("subuserns=4300"))
        }),
        ("setuid root in one's own user namespace", Led, |client| {
            setuid(client).inner(&["userns=4300"])
        }),
        ("root's user namespace", Untouched, |client| {
            client.who(&Who::root().and("rootuserns=4300"))
        }),
        ("own user namespace in root's", Untouched, |client| {
            client.who(&Who::root().and("rootuserns=4300")).inner(&["userns=4300"])
        }),
    ];
    kinds.into_iter()
}

fn rings() -> impl Iterator<Item = (&'static str, Expected, Prepare)> {
    let kinds: Kinds = vec![
        ("the user's io_uring", Led, |client| client.options(&["uring"])),
        ("the user's io_uring, worker thread", Led, |client| client.options(&["uring-worker"])),
        ("the user's io_uring, polling thread", Led, |client| client.options(&["uring-poller"])),
        ("root's io_uring with the user's credentials", Untouched, |client| {
            root(client).options(&["personality=4300"])
        }),
        ("root's io_uring with the user's credentials, worker thread", Untouched, |client| {
            root(client).options(&["personality=4300", "uring-worker"])
        }),
    ];
    kinds.into_iter()
}

fn setuid(client: Client) -> Client {
    let program = client.ground().setuid();
    client.program(program)
}

/// With a socket of the user's, without capabilities, and dumpable, so that nothing else counts.
fn setuid_other<'ground>(client: Client<'ground>, options: &[&str]) -> Client<'ground> {
    let program = client.ground().setuid_other();
    let client = client.who(&Who::user().first("socket=4300")).program(program);
    client.options(options).options(&["dumpable=1", "inherited"])
}

/// The same by a process of root's that becomes the user but for one thing.
fn stripped_root<'ground>(client: Client<'ground>, but: &str) -> Client<'ground> {
    let client = client.who(&Who::root().and("socket=4300"));
    client.options(&["keep-caps", "become=4300", "only-setid", but]).options(&[
        "drop-caps",
        "dumpable=1",
        "inherited",
    ])
}

fn setgid(client: Client) -> Client {
    let program = client.ground().setgid();
    client.program(program)
}

fn capable(client: Client) -> Client {
    let program = client.ground().capable();
    client.program(program)
}

fn root(client: Client) -> Client {
    client.who(&Who::root())
}

fn unreadable(client: &Client) -> PathBuf {
    client.ground().unreadable()
}

fn no_helper(ground: &Ground) {
    for to in [crate::ground::POD4, POD6, crate::ground::MAPPED] {
        let said = crate::client::user_to(ground, to);
        assert!(is_at_pod(&said), "{to}: {said}");
    }
}

/// Why Yama would answer instead of the rule that is compared with.
fn yama() -> Option<String> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    let scope = scope.trim();
    (scope > "1").then(|| format!("kernel.yama.ptrace_scope is {scope}"))
}

fn check(ground: &Ground, expected: Expected, prepare: Prepare) -> Verdict {
    if let Some(why) = yama() {
        return skip(why);
    }
    let helper = Helper::start(ground);
    let mut probe = prepare(Client::new(ground)).start();
    let verdict = judge(ground, &mut probe, expected);
    helper.stop();
    verdict
}

fn judge(ground: &Ground, probe: &mut Process, expected: Expected) -> Verdict {
    let traced = user_may_trace(ground, probe.pid());
    let said = connect(probe);
    if said == "error ENOSYS" {
        return skip("the kernel has no io_uring");
    }
    let led = is_led(&said);
    assert!(led || is_at_pod(&said), "{said}");
    match expected {
        Led => assert!(led && traced, "traced: {traced}, {said}"),
        Untouched => assert!(!led && !traced, "traced: {traced}, {said}"),
        UntouchedThough => assert!(!led && traced, "traced: {traced}, {said}"),
    }
    Ok(())
}

/// A socket that one process made and another one, which was sent it, connects.
fn handed(name: &str, maker: &Who, connector: &Who, expected: Expected) -> Row {
    let (maker, connector) = (maker.within(SESSION), connector.within(SESSION));
    Row::maybe(&format!("identity: sent over: {name}"), move |ground| {
        let helper = Helper::start(ground);
        let socket = socket_of(ground, &maker);
        let mut probe = Client::new(ground).exactly(&connector).options(&["received"]).spawn();
        send(&probe, &socket);
        assert_eq!(probe.line(), "ready");
        let verdict = judge(ground, &mut probe, expected);
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

/// Sends a socket to a probe that asked for one.
pub fn send(to: &Process, socket: &OwnedFd) {
    let sockets = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&sockets)];
    let to = to.stdin().as_raw_fd();
    sendmsg::<()>(to, &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).expect("sent");
}

/// A socket made by somebody, for [`send`].
pub fn socket_of(ground: &Ground, who: &Who) -> OwnedFd {
    let mut made = Process::start(ground.command(who, &ground.plain()).arg("make-socket"));
    let socket = receive(&made);
    assert_eq!(made.line(), "up");
    socket
}

const _: () = assert!(USER == 4300, "the options above name it");

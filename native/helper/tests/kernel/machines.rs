//! How the helper starts on different machines, and other BPF programs on the hooks.

use std::{fs, os::fd::OwnedFd};

use crate::{
    bpf::{self, Attached, HOOKS, Hook, MULTI, OVERRIDE},
    cases::{Case, Verdict, skip},
    client::{Client, connect_as_other, connect_as_user, is_redirected, reached_pod},
    environment::{Environment, MAPPED, POD4, POD6, RunAs, SESSION, SLICE, VIA},
    helper::{self, Helper, assert_refused, assert_user_is_refused, attached},
};

const FORBIDDEN: &str = "error EPERM";
/// A port of the pod without a listener.
const CLOSED: u16 = 6444;
const POD_CLOSED: &str = "10.9.0.2:6444";

pub fn cases() -> Vec<Case> {
    [starts(), other_programs()].into_iter().flatten().collect()
}

/// The test for `--refused REFUSAL`.
pub fn refused(word: String) -> Case {
    Case::new(&format!("machine: refused: {word}"), move |environment| {
        let fields = assert_user_is_refused(environment, &word);
        println!("   {fields}");
    })
}

fn starts() -> Vec<Case> {
    vec![
        Case::new("start: no capability on the file", |environment| {
            let run_as = RunAs::user().within(SESSION);
            let fields =
                assert_refused(environment, &run_as, &helper::bare(environment), "no_capability");
            assert_eq!(fields["cause"], "file_capabilities");
        }),
        Case::new("start: not in the bounding set", |environment| {
            let run_as = RunAs::root().and("bounding=39").and("user=4300").within(SESSION);
            // The kernel does not execute a file with effective capabilities that it cannot grant.
            // The helper has only permitted ones (`=p`).
            let fields =
                assert_refused(environment, &run_as, &helper::path(environment), "no_capability");
            assert_eq!(fields["cause"], "bounding_set");
        }),
        Case::new("start: in a user namespace", in_user_namespace),
        Case::new("start: no_new_privs", |environment| {
            let run_as = RunAs::user().and("nnp").within(SESSION);
            assert_refused(environment, &run_as, &helper::path(environment), "no_new_privs");
        }),
        Case::new("start: file system mounted nosuid", nosuid),
        Case::new("start: setuid root", |environment| setuid(environment, 0o4755)),
        Case::new("start: setgid", |environment| setuid(environment, 0o2755)),
        Case::new("start: root without the variables of sudo", |environment| {
            assert_refused(
                environment,
                &RunAs::root().within(SESSION),
                &helper::path(environment),
                "no_caller",
            );
        }),
        Case::new("start: by sudo it becomes the user", by_sudo),
        Case::new("start: no BTF", |environment| {
            let run_as = RunAs::root().and("hide=/sys/kernel").and("user=4300").within(SESSION);
            assert_refused(environment, &run_as, &helper::path(environment), "no_btf");
        }),
        Case::maybe("start: BTF without a member", |environment| {
            for name in ["cap_permitted", "real_cred", "sk_uid", "user_ns"] {
                let other = name.replacen('_', "-", 1);
                changed_btf(environment, "no_btf", |btf| rename(btf, &[(name, &other)]))?;
            }
            Ok(())
        }),
        Case::maybe("start: BTF that ends too early", |environment| {
            for part in [0, 1, 7, 23, 100, 100_000] {
                changed_btf(environment, "no_btf", |btf| btf.truncate(part))?;
            }
            Ok(())
        }),
        Case::maybe("start: BTF with uid and gid swapped redirects nothing", |environment| {
            changed_btf(environment, "self_test_failed", |btf| {
                rename(btf, &[("uid", "gid"), ("gid", "uid")]);
            })
        }),
    ]
}

/// The helper reads a modified BTF. The user's GID differs from the UID.
fn changed_btf(
    environment: &Environment,
    expected: &str,
    change: impl Fn(&mut Vec<u8>),
) -> Verdict {
    const PLACE: &str = "/sys/kernel/btf/vmlinux";
    let Ok(mut btf) = fs::read(PLACE) else { return skip("the kernel has no BTF") };
    change(&mut btf);
    let file = environment.file("btf");
    fs::write(&file, btf).expect("a file");
    let over = format!("over={}:{PLACE}", file.display());
    let run_as = RunAs::root().and(&over).and("user=4300:4555").within(SESSION);
    assert_refused(environment, &run_as, &helper::path(environment), expected);
    assert_eq!(attached(environment), 0);
    Ok(())
}

/// Renames members and types to names of the same length.
fn rename(btf: &mut [u8], names: &[(&str, &str)]) {
    let whole = |name: &str| format!("\0{name}\0").into_bytes();
    let find = |name: &str| {
        let name = whole(name);
        btf.windows(name.len()).position(|window| window == name).expect("a name")
    };
    let places: Vec<_> = names.iter().map(|(old, new)| (find(old), whole(new))).collect();
    for (at, new) in places {
        btf[at..at + new.len()].copy_from_slice(&new);
    }
}

fn in_user_namespace(environment: &Environment) {
    // As root of the namespace, the user can set the variables of sudo.
    for inside in ["userns=4300", "userns=0"] {
        let mut command = environment.command(&RunAs::user().within(SESSION), &environment.plain());
        command.args(["as", inside, "--"]).arg(helper::path(environment));
        command.env("SUDO_UID", "4300").env("SUDO_GID", "4300");
        let (word, fields) = helper::refusal(environment, &mut command);
        assert_eq!((word.as_str(), &fields["cause"]), ("no_capability", &"user_namespace".into()));
    }
}

fn nosuid(environment: &Environment) {
    let directory = environment.file("nosuid");
    fs::create_dir(&directory).expect("a new directory");
    let copy = directory.join("helper");
    let (from, to) = (helper::path(environment), copy.display());
    let run_as = RunAs::root()
        .and(&format!("nosuid={}", directory.display()))
        .and(&format!("copy={}:{to}", from.display()))
        .and("user=4300")
        .within(SESSION);
    assert_refused(environment, &run_as, &copy, "nosuid");
    fs::remove_dir(&directory).expect("an empty directory");
}

fn setuid(environment: &Environment, mode: u32) {
    let path = environment.file("setuid_helper");
    crate::environment::install(&helper::path(environment), &path, mode);
    assert_refused(environment, &RunAs::user().within(SESSION), &path, "set_uid");
}

fn by_sudo(environment: &Environment) {
    let mut command =
        environment.command(&RunAs::root().within(SESSION), &helper::bare(environment));
    command.env("SUDO_UID", "4300").env("SUDO_GID", "4300");
    let mut helper = Helper::spawn(environment, &mut command);
    let first = helper.read().expect("an answer");
    assert_eq!(first["ready"]["uid"], 4300, "{first}");
    helper.greet();
    helper.apply(&[(POD4, VIA)]).expect("a listener");
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    let root = Client::new(environment).run_as(&RunAs::root()).connect();
    assert!(reached_pod(&root), "{root}");
    crate::life::assert_no_privileges(&helper);
    assert_eq!(crate::life::pry_results(environment, &helper), "");
    // The user can kill the helper.
    let mut kill = environment.command(&RunAs::user(), "kill".as_ref());
    crate::process::output(kill.arg("-9").arg(helper.process.pid().to_string()));
    helper.process.wait();
    assert_eq!(attached(environment), 0);
}

/// The parent of the user's slice, where an admin could attach a program.
const PARENT: &str = "user.slice";

fn other_programs() -> Vec<Case> {
    let mut cases = vec![];
    for hook in HOOKS {
        cases.extend([
            hides(&format!("ALLOW_OVERRIDE at the parent, {hook:?}"), PARENT, hook),
            hides(&format!("ALLOW_OVERRIDE at the root, {hook:?}"), "", hook),
            excludes(&format!("exclusive at the parent, {hook:?}"), PARENT, 0, hook),
            excludes(&format!("exclusive at the slice, {hook:?}"), SLICE, 0, hook),
            excludes(&format!("ALLOW_OVERRIDE at the slice, {hook:?}"), SLICE, OVERRIDE, hook),
        ]);
    }
    cases.extend([
        Case::new("programs: a MULTI program at the parent and the root", |environment| {
            let _parent = put(environment, PARENT, bpf::pass(Hook::Connect4), MULTI);
            let _root = put(environment, "", bpf::pass(Hook::Connect4), MULTI);
            let helper = Helper::start(environment);
            assert!(is_redirected(&connect_as_user(environment, POD4)));
            helper.stop();
        }),
        Case::new("programs: the parent forbids the pod's port", parent_forbids),
        Case::new("programs: the slice forbids the pod's port, before us", |environment| {
            let _forbid = put(environment, SLICE, bpf::forbid(Hook::Connect4, 6443), MULTI);
            let helper = Helper::start(environment);
            assert_eq!(connect_as_user(environment, POD4), FORBIDDEN);
            assert_eq!(connect_as_other(environment, POD4), FORBIDDEN);
            helper.stop();
        }),
        Case::new("programs: the slice forbids the pod's port, after us", |environment| {
            let helper = Helper::start(environment);
            let _forbid = put(environment, SLICE, bpf::forbid(Hook::Connect4, 6443), MULTI);
            assert!(is_redirected(&connect_as_user(environment, POD4)));
            assert_eq!(connect_as_other(environment, POD4), FORBIDDEN);
            helper.stop();
        }),
        Case::new("programs: a load balancer at the parent", |environment| {
            balanced(environment, PARENT);
        }),
        Case::new("programs: a load balancer at the slice, before us", |environment| {
            balanced(environment, SLICE);
        }),
        Case::new("programs: exclusive and ALLOW_OVERRIDE at the parent, after us", after_us),
        Case::new("programs: an admin's in the slice, after us", in_slice_after_us),
    ]);
    cases
}

fn put(environment: &Environment, cgroup: &str, program: OwnedFd, flags: u32) -> Attached {
    put_on(environment, cgroup, program, Hook::Connect4, flags)
}

fn put_on(
    environment: &Environment,
    cgroup: &str,
    program: OwnedFd,
    hook: Hook,
    flags: u32,
) -> Attached {
    bpf::attach(&environment.cgroup(cgroup), program, hook, flags).expect("running as root")
}

/// The kernel would allow attaching, which would disable that program in the slice.
fn hides(name: &str, cgroup: &'static str, hook: Hook) -> Case {
    Case::maybe(&format!("programs: override_program: {name}"), move |environment| {
        let there = environment.cgroup(cgroup);
        let Ok(_attached) = bpf::attach(&there, bpf::pass(hook), hook, OVERRIDE) else {
            return skip("another program is attached to the cgroup");
        };
        let fields = assert_user_is_refused(environment, "override_program");
        let named = fields["cgroup"].as_str().expect("a path").trim_end_matches('/');
        assert_eq!(named, there.to_str().expect("text").trim_end_matches('/'));
        assert_eq!(attached(environment), 0);
        never_attached(environment);
        Ok(())
    })
}

/// Not even for a moment: the user could stop the helper then, and keep the other program disabled.
fn never_attached(environment: &Environment) {
    let run_as = RunAs::user().within(SESSION);
    for _ in 0..10 {
        let mut helper = Helper::spawn(
            environment,
            &mut environment.command(&run_as, &helper::path(environment)),
        );
        while helper.process.is_running() {
            assert_eq!(attached(environment), 0);
        }
    }
}

fn excludes(name: &str, cgroup: &'static str, flags: u32, hook: Hook) -> Case {
    Case::maybe(&format!("programs: exclusive_program: {name}"), move |environment| {
        let Ok(_attached) = bpf::attach(&environment.cgroup(cgroup), bpf::pass(hook), hook, flags)
        else {
            return skip("another program is attached to the cgroup");
        };
        let before = attached(environment);
        assert_user_is_refused(environment, "exclusive_program");
        assert_eq!(attached(environment), before);
        Ok(())
    })
}

fn parent_forbids(environment: &Environment) {
    let _forbid = put(environment, PARENT, bpf::forbid(Hook::Connect4, 6443), MULTI);
    let helper = Helper::start(environment);
    // The parent's program runs after ours and sees the loopback address.
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    assert_eq!(connect_as_other(environment, POD4), FORBIDDEN);
    helper.stop();
}

/// The parent's program sees the destination that ours has set. A program attached to the slice
/// before ours runs first.
fn balanced(environment: &Environment, cgroup: &str) {
    let (_backend, _) = environment.server(&RunAs::root(), "BACKEND", &["127.0.0.1:7009"]);
    let balance = bpf::balance(6443, 7009);
    let link = bpf::link(&environment.cgroup(cgroup), &balance, Hook::Connect4);
    let _link = link.expect("running as root");
    let helper = Helper::start(environment);
    let (user, other) = (connect_as_user(environment, POD4), connect_as_other(environment, POD4));
    let expected = if cgroup == SLICE { "BACKEND saw" } else { "LISTENER saw" };
    assert!(user.starts_with(expected), "{user}");
    assert!(other.starts_with("BACKEND saw"), "{other}");
    helper.stop();
}

/// A documented limitation: such a program is disabled in the slice until the helper exits.
fn after_us(environment: &Environment) {
    for flags in [0, OVERRIDE] {
        let helper = Helper::start(environment);
        let _forbid = put(environment, PARENT, bpf::forbid(Hook::Connect4, CLOSED), flags);
        assert_eq!(connect_as_user(environment, POD_CLOSED), "error ECONNREFUSED");
        assert!(is_redirected(&connect_as_user(environment, POD4)));
        helper.stop();
        assert_eq!(connect_as_user(environment, POD_CLOSED), FORBIDDEN);
    }
}

fn in_slice_after_us(environment: &Environment) {
    let helper = Helper::start(environment);
    let slice = environment.cgroup(SLICE);
    for flags in [0, OVERRIDE] {
        let forbid = bpf::forbid(Hook::Connect4, CLOSED);
        let Err(error) = bpf::attach(&slice, forbid, Hook::Connect4, flags) else {
            panic!("attached with flags {flags}");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    let _forbid = put(environment, SLICE, bpf::forbid(Hook::Connect4, CLOSED), MULTI);
    assert_eq!(connect_as_user(environment, POD_CLOSED), FORBIDDEN);
    for to in [POD4, POD6, MAPPED] {
        assert!(is_redirected(&connect_as_user(environment, to)), "{to}");
    }
    helper.stop();
}

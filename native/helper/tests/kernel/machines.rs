//! What kinds of machine the helper meets: routes, firewalls, cgroups, other programs on the hooks.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use crate::{
    bpf::{self, Attached, HOOKS, Hook, MULTI, OVERRIDE},
    client::{Client, is_at_pod, is_led, other_to, user_to},
    ground::{
        FALSE_SLICE, Ground, MAPPED, OTHER_SLICE, POD4, POD6, SERVICE, SESSION, SLICE, VIA, Who,
    },
    helper::{self, Helper, attached, is_refused, user_is_refused},
    keeper::remove_cgroup,
    process::{is_there, run},
    rows::{Row, Verdict, skip},
};

const FAR4: &str = "10.77.0.9:6443";
const FAR6: &str = "[fd77::9]:6443";
const FAR_MAPPED: &str = "[::ffff:10.77.0.9]:6443";
const NO_ROUTE: &str = "error ENETUNREACH";
const FORBIDDEN: &str = "error EPERM";
/// A port of the pod at which nothing listens.
const CLOSED: u16 = 6444;
const POD_CLOSED: &str = "10.9.0.2:6444";

pub fn rows() -> Vec<Row> {
    [network(), starts(), cgroups(), other_programs()].into_iter().flatten().collect()
}

/// `--refused WORD`
pub fn refused(word: String) -> Row {
    Row::new(&format!("machine: refused: {word}"), move |ground| {
        let fields = user_is_refused(ground, &word);
        println!("   {fields}");
    })
}

fn network() -> Vec<Row> {
    vec![
        Row::new("machine: no route to the target", no_route),
        Row::new("machine: unreachable route", unreachable_route),
        Row::new("machine: default route of a VPN", vpn),
        Row::maybe("machine: firewall that lets only the loopback pass", firewall),
    ]
}

fn far_helper(ground: &Ground) -> Helper {
    let mut helper = Helper::ready(ground, &Who::user().within(SESSION));
    helper.apply(&[(FAR4, VIA), (FAR6, VIA)]).expect("a listener");
    helper
}

fn all_far_are_led(ground: &Ground) {
    for to in [FAR4, FAR6, FAR_MAPPED] {
        let said = user_to(ground, to);
        assert!(is_led(&said), "{to}: {said}");
    }
}

fn no_route(ground: &Ground) {
    let helper = far_helper(ground);
    all_far_are_led(ground);
    for to in [FAR4, FAR6] {
        assert_eq!(other_to(ground, to), NO_ROUTE, "{to}");
    }
    helper.stop();
    assert_eq!(user_to(ground, FAR4), NO_ROUTE);
}

/// Routes, devices or tables that go with the row.
struct Undo(&'static [&'static str]);

impl Drop for Undo {
    fn drop(&mut self) {
        for words in self.0 {
            run(words);
        }
    }
}

fn unreachable_route(ground: &Ground) {
    run("ip route add unreachable 10.77.0.9");
    let _undo = Undo(&["ip route del unreachable 10.77.0.9"]);
    let helper = far_helper(ground);
    assert_eq!(other_to(ground, FAR4), "error EHOSTUNREACH");
    all_far_are_led(ground);
    helper.stop();
}

fn vpn(ground: &Ground) {
    run("ip link add vpn type veth peer name vpnend");
    let _undo = Undo(&["ip link del vpn"]);
    for words in ["addr add 10.8.0.2/24 dev vpn", "link set vpn up", "link set vpnend up"] {
        run(&format!("ip {words}"));
    }
    run("ip route add default dev vpn");
    run("ip -6 route add default dev vpn");
    let helper = far_helper(ground);
    all_far_are_led(ground);
    helper.stop();
}

fn firewall(ground: &Ground) -> Verdict {
    if !is_there("nft") {
        return skip("there is no nft");
    }
    run("nft add table inet firewall");
    let _undo = Undo(&["nft delete table inet firewall"]);
    for rule in [
        "chain inet firewall out { type filter hook output priority 0 ; policy drop ; }",
        "chain inet firewall in { type filter hook input priority 0 ; policy drop ; }",
        "rule inet firewall out oifname lo accept",
        "rule inet firewall in iifname lo ip saddr 127.0.0.0/8 accept",
        "rule inet firewall in iifname lo ip6 saddr ::1 accept",
    ] {
        run(&format!("nft add {rule}"));
    }
    let helper = far_helper(ground);
    all_far_are_led(ground);
    helper.stop();
    Ok(())
}

fn starts() -> Vec<Row> {
    vec![
        Row::new("start: no capability on the file", |ground| {
            let who = Who::user().within(SESSION);
            let fields = is_refused(ground, &who, &helper::bare(ground), "no_capability");
            assert_eq!(fields["why"], "file_capabilities");
        }),
        Row::new("start: not in the bounding set", |ground| {
            let who = Who::root().and("bounding=39").and("user=4300").within(SESSION);
            // The kernel does not start a file whose capabilities it cannot give; with `=p` it does.
            let fields = is_refused(ground, &who, &helper::path(ground), "no_capability");
            assert_eq!(fields["why"], "bounding_set");
        }),
        Row::new("start: in one's own user namespace", in_user_namespace),
        Row::new("start: no_new_privs", |ground| {
            let who = Who::user().and("nnp").within(SESSION);
            is_refused(ground, &who, &helper::path(ground), "no_new_privs");
        }),
        Row::new("start: file system mounted nosuid", nosuid),
        Row::new("start: setuid root", |ground| setuid(ground, 0o4755)),
        Row::new("start: setgid", |ground| setuid(ground, 0o2755)),
        Row::new("start: root without sudo's words", |ground| {
            is_refused(ground, &Who::root().within(SESSION), &helper::path(ground), "no_caller");
        }),
        Row::new("start: by sudo it becomes the user", by_sudo),
        Row::new("start: no BTF", |ground| {
            let who = Who::root().and("hide=/sys/kernel").and("user=4300").within(SESSION);
            is_refused(ground, &who, &helper::path(ground), "no_btf");
        }),
        Row::maybe("start: BTF without a member", |ground| {
            for name in ["cap_permitted", "real_cred", "sk_uid", "user_ns"] {
                let other = name.replacen('_', "-", 1);
                changed_btf(ground, "no_btf", |btf| rename(btf, &[(name, &other)]))?;
            }
            Ok(())
        }),
        Row::maybe("start: BTF that ends too early", |ground| {
            for part in [0, 1, 7, 23, 100, 100_000] {
                changed_btf(ground, "no_btf", |btf| btf.truncate(part))?;
            }
            Ok(())
        }),
        Row::maybe("start: BTF in which uid is gid leads nobody", |ground| {
            changed_btf(ground, "not_led", |btf| rename(btf, &[("uid", "gid"), ("gid", "uid")]))
        }),
    ]
}

/// The helper reads another BTF than the kernel's; the user's gid is not the uid.
fn changed_btf(ground: &Ground, expected: &str, change: impl Fn(&mut Vec<u8>)) -> Verdict {
    const PLACE: &str = "/sys/kernel/btf/vmlinux";
    let Ok(mut btf) = fs::read(PLACE) else { return skip("the kernel has no BTF") };
    change(&mut btf);
    let file = ground.file("btf");
    fs::write(&file, btf).expect("a file");
    let over = format!("over={}:{PLACE}", file.display());
    let who = Who::root().and(&over).and("user=4300:4555").within(SESSION);
    is_refused(ground, &who, &helper::path(ground), expected);
    assert_eq!(attached(ground), 0);
    Ok(())
}

/// Gives members and types other names, each as long as the old one.
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

fn in_user_namespace(ground: &Ground) {
    // As root in there, the user can say what sudo says.
    for inside in ["userns=4300", "userns=0"] {
        let mut command = ground.command(&Who::user().within(SESSION), &ground.plain());
        command.args(["as", inside, "--"]).arg(helper::path(ground));
        command.env("SUDO_UID", "4300").env("SUDO_GID", "4300");
        let (word, fields) = helper::refusal(ground, &mut command);
        assert_eq!((word.as_str(), &fields["why"]), ("no_capability", &"user_namespace".into()));
    }
}

fn nosuid(ground: &Ground) {
    let folder = ground.file("nosuid");
    fs::create_dir(&folder).expect("a free name");
    let copy = folder.join("helper");
    let (from, to) = (helper::path(ground), copy.display());
    let who = Who::root()
        .and(&format!("nosuid={}", folder.display()))
        .and(&format!("copy={}:{to}", from.display()))
        .and("user=4300")
        .within(SESSION);
    is_refused(ground, &who, &copy, "nosuid");
    fs::remove_dir(&folder).expect("it is empty outside");
}

fn setuid(ground: &Ground, mode: u32) {
    let path = ground.file("setuid_helper");
    crate::ground::install(&helper::path(ground), &path, mode);
    is_refused(ground, &Who::user().within(SESSION), &path, "set_uid");
}

fn by_sudo(ground: &Ground) {
    let mut command = ground.command(&Who::root().within(SESSION), &helper::bare(ground));
    command.env("SUDO_UID", "4300").env("SUDO_GID", "4300");
    let mut helper = Helper::spawn(ground, &mut command);
    let first = helper.read().expect("it says something");
    assert_eq!(first["ready"]["uid"], 4300, "{first}");
    helper.greet();
    helper.apply(&[(POD4, VIA)]).expect("a listener");
    assert!(is_led(&user_to(ground, POD4)));
    let root = Client::new(ground).who(&Who::root()).connect();
    assert!(is_at_pod(&root), "{root}");
    crate::life::has_nothing_left(&helper);
    assert_eq!(crate::life::pried(ground, &helper), "");
    // And its user may end it.
    let mut kill = ground.command(&Who::user(), "kill".as_ref());
    crate::process::output(kill.arg("-9").arg(helper.process.pid().to_string()));
    helper.process.wait();
    assert_eq!(attached(ground), 0);
}

fn cgroups() -> Vec<Row> {
    vec![
        Row::new("cgroup: cgroup2 is not mounted", |ground| {
            cgroup2_hidden(ground, None);
        }),
        Row::new("cgroup: cgroup2 is mounted elsewhere", |ground| {
            cgroup2_hidden(ground, Some(&ground.file("elsewhere")));
        }),
        Row::new("cgroup: cgroup2 is read-only", |ground| {
            let read_only = format!("readonly={}", ground.cgroups.display());
            let who = Who::root().and(&read_only).and("user=4300").within(SESSION);
            let mut helper = Helper::ready(ground, &who);
            helper.apply(&[(POD4, VIA)]).expect("a listener");
            assert!(is_led(&user_to(ground, POD4)));
            helper.stop();
        }),
        slice_refused("in the root cgroup", "/", ""),
        slice_refused("in a system service", &format!("/{SERVICE}"), SERVICE),
        slice_refused("in another user's slice", &format!("/{OTHER_SLICE}"), OTHER_SLICE),
        slice_refused(
            "in a false slice in another user's",
            &format!("/{FALSE_SLICE}"),
            FALSE_SLICE,
        ),
        Row::new("cgroup: in a slice whose name begins like the user's", longer_name),
        Row::new("cgroup: no_user_slice: in a cgroup namespace", |ground| {
            let who = Who::root().and("cgroupns").and("user=4300").within(SESSION);
            let fields = is_refused(ground, &who, &helper::path(ground), "no_user_slice");
            assert_eq!(fields["cgroup"], "/");
        }),
        Row::new("cgroup: another user's helper in the user's slice", |ground| {
            let who = Who::other().within(SESSION);
            is_refused(ground, &who, &helper::path(ground), "no_user_slice");
        }),
        Row::new("cgroup: the kernel takes no name with a newline", |ground| {
            let error = fs::create_dir(ground.cgroup("a\nb")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }),
        Row::new("cgroup: removed under the helper", removed_under_the_helper),
    ]
}

fn cgroup2_hidden(ground: &Ground, elsewhere: Option<&Path>) {
    let mut who = Who::root();
    if let Some(folder) = elsewhere {
        fs::create_dir(folder).expect("a free name");
        who = who.and(&format!("cgroup2={}", folder.display()));
    }
    let who = who.and("hide=/sys/fs/cgroup").and("user=4300").within(SESSION);
    is_refused(ground, &who, &helper::path(ground), "no_cgroup2");
    if let Some(folder) = elsewhere {
        fs::remove_dir(folder).expect("it is empty outside");
    }
}

fn slice_refused(name: &str, seen: &str, cgroup: &'static str) -> Row {
    let seen = seen.to_owned();
    Row::new(&format!("cgroup: no_user_slice: {name}"), move |ground| {
        let who = Who::user().within(cgroup);
        let fields = is_refused(ground, &who, &helper::path(ground), "no_user_slice");
        assert_eq!(fields["uid"], 4300);
        assert_eq!(fields["cgroup"], seen.as_str());
        assert_eq!(attached(ground), 0);
    })
}

/// A cgroup that goes with the row.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(ground: &Ground, name: &str) -> Self {
        let path = ground.cgroup(name);
        fs::create_dir(&path).expect("a free name");
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = remove_cgroup(&self.0);
    }
}

fn longer_name(ground: &Ground) {
    const NAME: &str = "user.slice/user-4300.slice.d";
    let _cgroup = Cgroup::make(ground, NAME);
    is_refused(ground, &Who::user().within(NAME), &helper::path(ground), "no_user_slice");
}

fn removed_under_the_helper(ground: &Ground) {
    const NAME: &str = "user.slice/user-4302.slice";
    let user = Who::root().and("user=4302");
    let cgroup = Cgroup::make(ground, NAME);
    let (_listener, _) = ground.server(&user, "LISTENER", &["127.0.0.1:7302"]);
    let mut helper = Helper::ready(ground, &user.within(NAME));
    helper.apply(&[(POD4, 7302)]).expect("a listener");
    assert!(is_led(&Client::new(ground).exactly(&user.within(NAME)).connect()));
    fs::write(ground.cgroup("cgroup.procs"), helper.process.pid().to_string()).expect("root may");
    remove_cgroup(&cgroup.0).expect("nobody is in it");
    assert!(helper.process.is_running());
    // The link is dead; a new cgroup of that name has nothing to do with it.
    let _again = Cgroup::make(ground, NAME);
    assert!(is_at_pod(&Client::new(ground).exactly(&user.within(NAME)).connect()));
    assert_eq!(bpf::attached(&ground.cgroup(NAME)), 0);
    helper.stop();
}

/// Where an admin's program is, seen from the user's slice.
const PARENT: &str = "user.slice";

fn other_programs() -> Vec<Row> {
    let mut rows = vec![];
    for hook in HOOKS {
        rows.extend([
            hides(&format!("ALLOW_OVERRIDE at the parent, {hook:?}"), PARENT, hook),
            hides(&format!("ALLOW_OVERRIDE at the root, {hook:?}"), "", hook),
            excludes(&format!("exclusive at the parent, {hook:?}"), PARENT, 0, hook),
            excludes(&format!("exclusive at the slice, {hook:?}"), SLICE, 0, hook),
            excludes(&format!("ALLOW_OVERRIDE at the slice, {hook:?}"), SLICE, OVERRIDE, hook),
        ]);
    }
    rows.extend([
        Row::new("programs: a MULTI program at the parent and the root", |ground| {
            let _parent = put(ground, PARENT, bpf::pass(Hook::Connect4), MULTI);
            let _root = put(ground, "", bpf::pass(Hook::Connect4), MULTI);
            let helper = Helper::start(ground);
            assert!(is_led(&user_to(ground, POD4)));
            helper.stop();
        }),
        Row::new("programs: the parent forbids the pod's port", parent_forbids),
        Row::new("programs: the slice forbids the pod's port, before us", |ground| {
            let _forbid = put(ground, SLICE, bpf::forbid(Hook::Connect4, 6443), MULTI);
            let helper = Helper::start(ground);
            assert_eq!(user_to(ground, POD4), FORBIDDEN);
            assert_eq!(other_to(ground, POD4), FORBIDDEN);
            helper.stop();
        }),
        Row::new("programs: the slice forbids the pod's port, after us", |ground| {
            let helper = Helper::start(ground);
            let _forbid = put(ground, SLICE, bpf::forbid(Hook::Connect4, 6443), MULTI);
            assert!(is_led(&user_to(ground, POD4)));
            assert_eq!(other_to(ground, POD4), FORBIDDEN);
            helper.stop();
        }),
        Row::new("programs: a load balancer at the parent", |ground| balanced(ground, PARENT)),
        Row::new("programs: a load balancer at the slice, before us", |ground| {
            balanced(ground, SLICE);
        }),
        Row::new("programs: exclusive and ALLOW_OVERRIDE at the parent, after us", after_us),
        Row::new("programs: an admin's in the slice, after us", in_slice_after_us),
    ]);
    rows
}

fn put(ground: &Ground, cgroup: &str, program: OwnedFd, flags: u32) -> Attached {
    put_on(ground, cgroup, program, Hook::Connect4, flags)
}

fn put_on(ground: &Ground, cgroup: &str, program: OwnedFd, hook: Hook, flags: u32) -> Attached {
    bpf::attach(&ground.cgroup(cgroup), program, hook, flags).expect("root may attach")
}

/// Attaching works here, and would switch that program off in the slice.
fn hides(name: &str, cgroup: &'static str, hook: Hook) -> Row {
    Row::maybe(&format!("programs: would_hide: {name}"), move |ground| {
        let there = ground.cgroup(cgroup);
        let Ok(_attached) = bpf::attach(&there, bpf::pass(hook), hook, OVERRIDE) else {
            return skip("another program is attached there");
        };
        let fields = user_is_refused(ground, "would_hide");
        let named = fields["cgroup"].as_str().expect("a path").trim_end_matches('/');
        assert_eq!(named, there.to_str().expect("text").trim_end_matches('/'));
        assert_eq!(attached(ground), 0);
        Ok(())
    })
}

fn excludes(name: &str, cgroup: &'static str, flags: u32, hook: Hook) -> Row {
    Row::maybe(&format!("programs: exclusive_program: {name}"), move |ground| {
        let Ok(_attached) = bpf::attach(&ground.cgroup(cgroup), bpf::pass(hook), hook, flags)
        else {
            return skip("another program is attached there");
        };
        let before = attached(ground);
        user_is_refused(ground, "exclusive_program");
        assert_eq!(attached(ground), before);
        Ok(())
    })
}

fn parent_forbids(ground: &Ground) {
    let _forbid = put(ground, PARENT, bpf::forbid(Hook::Connect4, 6443), MULTI);
    let helper = Helper::start(ground);
    // The parent's program runs after ours, and sees the loopback.
    assert!(is_led(&user_to(ground, POD4)));
    assert_eq!(other_to(ground, POD4), FORBIDDEN);
    helper.stop();
}

/// The parent's program sees what ours has made of the connection; one that was on the slice before
/// ours is asked first.
fn balanced(ground: &Ground, cgroup: &str) {
    let (_backend, _) = ground.server(&Who::root(), "BACKEND", &["127.0.0.1:7009"]);
    let balance = bpf::balance(6443, 7009);
    let link = bpf::link(&ground.cgroup(cgroup), &balance, Hook::Connect4);
    let _link = link.expect("root may attach");
    let helper = Helper::start(ground);
    let (user, other) = (user_to(ground, POD4), other_to(ground, POD4));
    let expected = if cgroup == SLICE { "BACKEND saw" } else { "LISTENER saw" };
    assert!(user.starts_with(expected), "{user}");
    assert!(other.starts_with("BACKEND saw"), "{other}");
    helper.stop();
}

/// What cannot be prevented there, and is said in the documentation: such a program is off in the
/// slice until the helper ends.
fn after_us(ground: &Ground) {
    for flags in [0, OVERRIDE] {
        let helper = Helper::start(ground);
        let _forbid = put(ground, PARENT, bpf::forbid(Hook::Connect4, CLOSED), flags);
        assert_eq!(user_to(ground, POD_CLOSED), "error ECONNREFUSED");
        assert!(is_led(&user_to(ground, POD4)));
        helper.stop();
        assert_eq!(user_to(ground, POD_CLOSED), FORBIDDEN);
    }
}

fn in_slice_after_us(ground: &Ground) {
    let helper = Helper::start(ground);
    let slice = ground.cgroup(SLICE);
    for flags in [0, OVERRIDE] {
        let forbid = bpf::forbid(Hook::Connect4, CLOSED);
        let Err(error) = bpf::attach(&slice, forbid, Hook::Connect4, flags) else {
            panic!("attached with flags {flags}");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    let _forbid = put(ground, SLICE, bpf::forbid(Hook::Connect4, CLOSED), MULTI);
    assert_eq!(user_to(ground, POD_CLOSED), FORBIDDEN);
    for to in [POD4, POD6, MAPPED] {
        assert!(is_led(&user_to(ground, to)), "{to}");
    }
    helper.stop();
}

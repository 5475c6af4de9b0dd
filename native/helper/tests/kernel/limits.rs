//! How much of the kernel one user can take, and from whom; and what the slice covers.

use std::fs;

use crate::{
    bpf::{self, HOOKS, Hook},
    client::{Client, is_at_pod, is_led, user_to},
    ground::{Ground, MANAGER, OTHER_SESSION, POD4, SERVICE, SESSION, SLICE, USER, VIA, Who},
    helper::{Helper, attached, path, user_is_refused, word},
    rows::Row,
};

/// How many helpers of one user's may be there.
const HELPERS: u32 = 8;
/// How many programs the kernel takes at one hook of one cgroup.
const SLOTS: usize = 64;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::new("limits: eight helpers, and not one more", eight),
        Row::new("limits: 1024 targets, and not one more", targets),
        Row::new("limits: 40 helpers at once", forty_at_once),
        Row::new("limits: all of the slice's slots are taken", no_slot),
        Row::new("slice: a socket made outside, connected inside", |ground| {
            made_and_connected(ground, SERVICE, SESSION, false);
        }),
        Row::new("slice: a socket made inside, connected outside", |ground| {
            made_and_connected(ground, SESSION, SERVICE, true);
        }),
    ];
    for (name, cgroup, led) in [
        ("the session", SESSION, true),
        ("the user manager's programs", MANAGER, true),
        ("the slice itself", SLICE, true),
        ("a system service", SERVICE, false),
        ("another user's session", OTHER_SESSION, false),
        ("the root cgroup", "", false),
    ] {
        rows.push(Row::new(&format!("slice: the user's program in {name}"), move |ground| {
            let helper = Helper::start(ground);
            let client = Client::new(ground).exactly(&Who::user().within(cgroup));
            judge(&client.connect(), led);
            helper.stop();
        }));
    }
    rows
}

fn judge(said: &str, led: bool) {
    let right = if led { is_led(said) } else { is_at_pod(said) };
    assert!(right, "{said}");
}

fn eight(ground: &Ground) {
    let user = Who::user().within(SESSION);
    let mut helpers: Vec<_> = (0..HELPERS).map(|_| Helper::ready(ground, &user)).collect();
    assert_eq!(user_is_refused(ground, "too_many")["limit"], HELPERS);
    assert_eq!(attached(ground), 2 * HELPERS);
    helpers.pop().expect("eight").stop();
    helpers.push(Helper::ready(ground, &user));
}

fn targets(ground: &Ground) {
    let addresses: Vec<_> = (0..1025).map(|port| format!("10.9.0.2:{}", 6000 + port)).collect();
    let set: Vec<_> = addresses.iter().map(|to| (to.as_str(), VIA)).collect();
    let mut helper = Helper::ready(ground, &Who::user().within(SESSION));
    helper.apply(&set[..1024]).expect("a listener");
    assert!(is_led(&user_to(ground, "10.9.0.2:7023")));
    assert_eq!(word(&helper.apply(&set).unwrap_err()).0, "too_many_redirects");
    assert!(is_led(&user_to(ground, POD4)));
    helper.apply(&[]).expect("nothing to refuse");
    assert!(is_at_pod(&user_to(ground, POD4)));
    helper.stop();
}

/// Nobody counts before attaching, so that a race ends with too few, never with too many.
fn forty_at_once(ground: &Ground) {
    let user = Who::user().within(SESSION);
    let start = |_| Helper::spawn(ground, &mut ground.command(&user, &path(ground)));
    let mut helpers: Vec<_> = (0..40).map(start).collect();
    // Meanwhile, and afterwards, the places above are free.
    let pass = bpf::pass(Hook::Connect4);
    let _link = bpf::link(&ground.cgroup(""), &pass, Hook::Connect4).expect("a free slot");
    let mut stayed = vec![];
    for mut helper in helpers.drain(..) {
        let first = helper.read().expect("it says something");
        if first.get("ready").is_some() {
            stayed.push(helper);
        } else {
            assert_eq!(word(&first["refused"]["refusal"]).0, "too_many", "{first}");
            helper.process.wait();
        }
    }
    println!("   {} of 40 stayed", stayed.len());
    assert!(stayed.len() <= HELPERS as usize);
    assert_eq!(attached(ground) as usize, 2 * stayed.len());
    drop(stayed);
    assert_eq!(attached(ground), 0);
}

fn no_slot(ground: &Ground) {
    let (slice, pass) = (ground.cgroup(SLICE), HOOKS.map(|hook| (hook, bpf::pass(hook))));
    for (hook, program) in &pass {
        // One program is not attached twice to one cgroup but by links.
        let link = || bpf::link(&slice, program, *hook);
        let links: Vec<_> = (0..SLOTS).map(|_| link().expect("a free slot")).collect();
        assert_eq!(link().unwrap_err().raw_os_error(), Some(libc::E2BIG));
        user_is_refused(ground, "too_many");
        // The user's slots are nobody else's.
        drop(bpf::link(&ground.cgroup("user.slice"), program, *hook).expect("a free slot"));
        assert_eq!(attached(ground) as usize, SLOTS);
        drop(links);
    }
    assert_eq!(attached(ground), 0);
}

/// The cgroup in which a socket was made decides which programs run.
fn made_and_connected(ground: &Ground, made: &str, connected: &str, led: bool) {
    let helper = Helper::start(ground);
    let who = Who::root()
        .and(&format!("cgroup=%/{made}"))
        .and(&format!("socket={USER}"))
        .and(&format!("cgroup=%/{connected}"))
        .and(&format!("user={USER}"));
    let mut probe = Client::new(ground).exactly(&who).options(&["inherited"]).start();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", probe.pid())).expect("it runs");
    assert!(cgroup.contains(&format!("0::/{connected}\n")), "{cgroup}");
    judge(&crate::client::connect(&mut probe), led);
    assert!(is_led(&user_to(ground, POD4)));
    helper.stop();
}

//! How much of the kernel one user can use up, and what the slice covers.

use std::fs;

use crate::{
    bpf::{self, HOOKS, Hook},
    cases::Case,
    client::{Client, connect_as_user, is_redirected, reached_pod},
    environment::{
        Environment, MANAGER, OTHER_SESSION, POD4, RunAs, SERVICE, SESSION, SLICE, USER, VIA,
    },
    helper::{Helper, assert_user_is_refused, attached, path, word},
};

/// The limit on helpers per user.
const HELPERS: u32 = 8;
/// The kernel's limit on programs per hook and cgroup.
const SLOTS: usize = 64;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("limits: eight helpers, and not one more", eight),
        Case::new("limits: 1024 targets, and not one more", targets),
        Case::new("limits: 40 helpers at once", forty_helpers_at_once),
        Case::new("limits: all of the slice's slots are taken", no_slot),
        Case::new("slice: a socket made outside, connected inside", |environment| {
            made_and_connected(environment, SERVICE, SESSION, false);
        }),
        Case::new("slice: a socket made inside, connected outside", |environment| {
            made_and_connected(environment, SESSION, SERVICE, true);
        }),
    ];
    for (name, cgroup, redirected) in [
        ("the session", SESSION, true),
        ("the user manager's programs", MANAGER, true),
        ("the slice itself", SLICE, true),
        ("a system service", SERVICE, false),
        ("another user's session", OTHER_SESSION, false),
        ("the root cgroup", "", false),
    ] {
        cases.push(Case::new(
            &format!("slice: the user's program in {name}"),
            move |environment| {
                let helper = Helper::start(environment);
                let client = Client::new(environment).exactly(&RunAs::user().within(cgroup));
                judge(&client.connect(), redirected);
                helper.stop();
            },
        ));
    }
    cases
}

fn judge(result: &str, redirected: bool) {
    let right = if redirected { is_redirected(result) } else { reached_pod(result) };
    assert!(right, "{result}");
}

fn eight(environment: &Environment) {
    let user = RunAs::user().within(SESSION);
    let mut helpers: Vec<_> = (0..HELPERS).map(|_| Helper::ready(environment, &user)).collect();
    assert_eq!(assert_user_is_refused(environment, "too_many")["limit"], HELPERS);
    assert_eq!(attached(environment), 2 * HELPERS);
    helpers.pop().expect("eight").stop();
    helpers.push(Helper::ready(environment, &user));
}

fn targets(environment: &Environment) {
    let addresses: Vec<_> = (0..1025).map(|port| format!("10.9.0.2:{}", 6000 + port)).collect();
    let set: Vec<_> = addresses.iter().map(|to| (to.as_str(), VIA)).collect();
    let mut helper = Helper::ready(environment, &RunAs::user().within(SESSION));
    helper.apply(&set[..1024]).expect("a listener");
    assert!(is_redirected(&connect_as_user(environment, "10.9.0.2:7023")));
    assert_eq!(word(&helper.apply(&set).unwrap_err()).0, "too_many_redirects");
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    helper.apply(&[]).expect("nothing to refuse");
    assert!(reached_pod(&connect_as_user(environment, POD4)));
    helper.stop();
}

/// The helper counts after attaching, so a race can leave fewer helpers, but never more.
fn forty_helpers_at_once(environment: &Environment) {
    let user = RunAs::user().within(SESSION);
    let start = |_| Helper::spawn(environment, &mut environment.command(&user, &path(environment)));
    let mut helpers: Vec<_> = (0..40).map(start).collect();
    // The hooks of the cgroups above stay free.
    let pass = bpf::pass(Hook::Connect4);
    let _link = bpf::link(&environment.cgroup(""), &pass, Hook::Connect4).expect("a free slot");
    let mut stayed = vec![];
    for mut helper in helpers.drain(..) {
        let first = helper.read().expect("an answer");
        if first.get("ready").is_some() {
            stayed.push(helper);
        } else {
            assert_eq!(word(&first["refused"]["refusal"]).0, "too_many", "{first}");
            helper.process.wait();
        }
    }
    println!("   {} of 40 stayed", stayed.len());
    assert!(stayed.len() <= HELPERS as usize);
    assert_eq!(attached(environment) as usize, 2 * stayed.len());
    drop(stayed);
    assert_eq!(attached(environment), 0);
}

fn no_slot(environment: &Environment) {
    let (slice, pass) = (environment.cgroup(SLICE), HOOKS.map(|hook| (hook, bpf::pass(hook))));
    for (hook, program) in &pass {
        // A program can be attached to a cgroup more than once only with links.
        let link = || bpf::link(&slice, program, *hook);
        let links: Vec<_> = (0..SLOTS).map(|_| link().expect("a free slot")).collect();
        assert_eq!(link().unwrap_err().raw_os_error(), Some(libc::E2BIG));
        assert_user_is_refused(environment, "too_many");
        // The user's programs do not count in the parent.
        drop(bpf::link(&environment.cgroup("user.slice"), program, *hook).expect("a free slot"));
        assert_eq!(attached(environment) as usize, SLOTS);
        drop(links);
    }
    assert_eq!(attached(environment), 0);
}

/// The cgroup in which a socket was created determines which programs run.
fn made_and_connected(environment: &Environment, made: &str, connected: &str, redirected: bool) {
    let helper = Helper::start(environment);
    let run_as = RunAs::root()
        .and(&format!("cgroup=%/{made}"))
        .and(&format!("socket={USER}"))
        .and(&format!("cgroup=%/{connected}"))
        .and(&format!("user={USER}"));
    let mut probe = Client::new(environment).exactly(&run_as).options(&["inherited"]).start();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", probe.pid())).expect("it runs");
    assert!(cgroup.contains(&format!("0::/{connected}\n")), "{cgroup}");
    judge(&crate::client::connect(&mut probe), redirected);
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    helper.stop();
}

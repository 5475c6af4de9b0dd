//! The cgroups of the machine, and processes outside of the user's slice.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    bpf,
    cases::Case,
    client::{Client, connect_as_user, is_redirected, reached_pod},
    environment::{Environment, FALSE_SLICE, OTHER_SLICE, POD4, RunAs, SERVICE, SESSION, VIA},
    helper::{self, Helper, assert_refused, attached},
    keeper::remove_cgroup,
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("cgroup: cgroup2 is not mounted", |environment| {
            cgroup2_hidden(environment, None);
        }),
        Case::new("cgroup: cgroup2 is mounted elsewhere", |environment| {
            cgroup2_hidden(environment, Some(&environment.file("elsewhere")));
        }),
        Case::new("cgroup: cgroup2 is read-only", |environment| {
            let read_only = format!("readonly={}", environment.cgroups.display());
            let run_as = RunAs::root().and(&read_only).and("user=4300").within(SESSION);
            let mut helper = Helper::ready(environment, &run_as);
            helper.apply(&[(POD4, VIA)]).expect("a listener");
            assert!(is_redirected(&connect_as_user(environment, POD4)));
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
        Case::new("cgroup: in a slice whose name begins like the user's", longer_name),
        Case::new("cgroup: no_user_slice: in a cgroup namespace", |environment| {
            let run_as = RunAs::root().and("cgroupns").and("user=4300").within(SESSION);
            let fields =
                assert_refused(environment, &run_as, &helper::path(environment), "no_user_slice");
            assert_eq!(fields["cgroup"], "/");
        }),
        Case::new("cgroup: another user's helper in the user's slice", |environment| {
            let run_as = RunAs::other().within(SESSION);
            assert_refused(environment, &run_as, &helper::path(environment), "no_user_slice");
        }),
        Case::new("cgroup: the kernel takes no name with a newline", |environment| {
            let error = fs::create_dir(environment.cgroup("a\nb")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }),
        Case::new("cgroup: removed under the helper", removed_under_the_helper),
    ]
}

fn cgroup2_hidden(environment: &Environment, elsewhere: Option<&Path>) {
    let mut run_as = RunAs::root();
    if let Some(directory) = elsewhere {
        fs::create_dir(directory).expect("a new directory");
        run_as = run_as.and(&format!("cgroup2={}", directory.display()));
    }
    let run_as = run_as.and("hide=/sys/fs/cgroup").and("user=4300").within(SESSION);
    assert_refused(environment, &run_as, &helper::path(environment), "no_cgroup2");
    if let Some(directory) = elsewhere {
        fs::remove_dir(directory).expect("an empty directory");
    }
}

fn slice_refused(name: &str, seen: &str, cgroup: &'static str) -> Case {
    let seen = seen.to_owned();
    Case::new(&format!("cgroup: no_user_slice: {name}"), move |environment| {
        let run_as = RunAs::user().within(cgroup);
        let fields =
            assert_refused(environment, &run_as, &helper::path(environment), "no_user_slice");
        assert_eq!(fields["uid"], 4300);
        assert_eq!(fields["cgroup"], seen.as_str());
        assert_eq!(attached(environment), 0);
    })
}

/// A cgroup, removed after the test.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(environment: &Environment, name: &str) -> Self {
        let path = environment.cgroup(name);
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = remove_cgroup(&self.0);
    }
}

fn longer_name(environment: &Environment) {
    const NAME: &str = "user.slice/user-4300.slice.d";
    let _cgroup = Cgroup::make(environment, NAME);
    assert_refused(
        environment,
        &RunAs::user().within(NAME),
        &helper::path(environment),
        "no_user_slice",
    );
}

fn removed_under_the_helper(environment: &Environment) {
    const NAME: &str = "user.slice/user-4302.slice";
    let user = RunAs::root().and("user=4302");
    let cgroup = Cgroup::make(environment, NAME);
    let (_listener, _) = environment.server(&user, "LISTENER", &["127.0.0.1:7302"]);
    let mut helper = Helper::ready(environment, &user.within(NAME));
    helper.apply(&[(POD4, 7302)]).expect("a listener");
    assert!(is_redirected(&Client::new(environment).exactly(&user.within(NAME)).connect()));
    fs::write(environment.cgroup("cgroup.procs"), helper.process.pid().to_string())
        .expect("running as root");
    remove_cgroup(&cgroup.0).expect("an empty cgroup");
    assert!(helper.process.is_running());
    // The link is defunct. A new cgroup with the same name is another cgroup.
    let _again = Cgroup::make(environment, NAME);
    assert!(reached_pod(&Client::new(environment).exactly(&user.within(NAME)).connect()));
    assert_eq!(bpf::attached(&environment.cgroup(NAME)), 0);
    helper.stop();
}

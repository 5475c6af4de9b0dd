//! The helper as an admin installs it, and its protocol. The JSON frames are written out here, so
//! that the protocol is tested independently of the library.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    bpf,
    environment::{
        Environment, POD4, POD6, RunAs, SESSION, SLICE, VIA, install as copy, set_file_capabilities,
    },
    process::Process,
};

/// The capabilities of the installed helper.
pub const CAPABILITIES: &str = "cap_bpf,cap_net_admin,cap_perfmon=p";

/// The helper to test.
pub fn built() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_k8s_connect_helper");
    env::var_os("K8S_CONNECT_HELPER").map_or_else(|| built.into(), PathBuf::from)
}

/// Installs a copy with the capabilities where the user can execute it.
pub fn install(environment: &Environment) {
    let path = path(environment);
    copy(&built(), &path, 0o755);
    set_file_capabilities(&path, CAPABILITIES);
}

/// The installed copy.
pub fn path(environment: &Environment) -> PathBuf {
    environment.file("helper")
}

/// A copy without capabilities.
pub fn bare(environment: &Environment) -> PathBuf {
    let path = environment.file("bare_helper");
    copy(&built(), &path, 0o755);
    path
}

/// A running helper.
pub struct Helper {
    pub process: Process,
    life: i32,
    id: u64,
}

impl Helper {
    /// A helper of the user, in a session, which redirects the pod's addresses to the listener.
    pub fn start(environment: &Environment) -> Self {
        let mut helper = Self::ready(environment, &RunAs::user().within(SESSION));
        helper.apply(&[(POD4, VIA), (POD6, VIA)]).expect("a listener of the user");
        helper
    }

    /// A helper of this user, without redirects.
    pub fn ready(environment: &Environment, run_as: &RunAs) -> Self {
        Self::ready_by(environment, &mut environment.command(run_as, &path(environment)))
    }

    /// A helper started with this command, without redirects.
    pub fn ready_by(environment: &Environment, command: &mut Command) -> Self {
        let mut helper = Self::spawn(environment, command);
        let first = helper.read();
        let ready = first.as_ref().and_then(|first| first.get("ready"));
        let ready = ready.unwrap_or_else(|| panic!("not ready: {first:?}"));
        assert_eq!(ready["major"], 2, "{ready}");
        helper.greet();
        helper
    }

    /// Starts a helper without reading or writing.
    pub fn spawn(environment: &Environment, command: &mut Command) -> Self {
        Self { process: Process::start(command), life: environment.listener.pid(), id: 0 }
    }

    /// Sends a hello: the helper ends with the listener's process.
    pub fn greet(&mut self) {
        self.greet_for(self.life);
    }

    /// Sends a hello: the helper ends with this process.
    pub fn greet_for(&mut self, pid: i32) {
        self.say(&json!({"hello": {"major": 2, "minor": 0, "pid": pid}}));
    }

    pub fn say(&mut self, message: &Value) {
        let body = message.to_string().into_bytes();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.process.send(&[&length[..], &body].concat());
    }

    /// The next frame; `None` at end of file.
    pub fn read(&mut self) -> Option<Value> {
        let length = self.process.read(4)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let body = self.process.read(length as usize)?;
        Some(serde_json::from_slice(&body).expect("JSON"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.say(request);
        self.read().unwrap_or_else(|| panic!("no answer to {request}"))
    }

    /// Replaces the redirects, or returns the refusal.
    pub fn apply(&mut self, redirects: &[(&str, u16)]) -> Result<(), Value> {
        self.id += 1;
        let set: Vec<_> = redirects.iter().map(|(to, via)| json!({"to": to, "via": via})).collect();
        let answer = self.ask(&json!({"apply": {"id": self.id, "redirects": set}}));
        if let Some(refused) = answer.get("refused") {
            assert_eq!(refused["id"], self.id, "{answer}");
            return Err(refused["refusal"].clone());
        }
        assert_eq!(answer["applied"]["id"], self.id, "{answer}");
        assert_eq!(answer["applied"]["redirects"], redirects.len(), "{answer}");
        Ok(())
    }

    /// Stops the helper and waits for its end.
    pub fn stop(mut self) {
        let answer = self.ask(&json!({"stop": {"id": 7}}));
        assert_eq!(answer, json!({"stopped": {"id": 7}}));
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

/// Kind and fields of the refusal of a helper that does not start.
pub fn refusal(environment: &Environment, command: &mut Command) -> (String, Value) {
    let mut helper = Helper::spawn(environment, command);
    let first = helper.read().unwrap_or_else(|| panic!("no output"));
    let refused = first.get("refused").unwrap_or_else(|| panic!("not refused: {first}"));
    assert_eq!(refused["id"], Value::Null, "{first}");
    assert_eq!(helper.process.wait().code(), Some(1), "{first}");
    word(&refused["refusal"])
}

/// A refusal is a string, or an object whose only key is the kind.
pub fn word(refusal: &Value) -> (String, Value) {
    if let Some(word) = refusal.as_str() {
        return (word.to_owned(), Value::Null);
    }
    let (word, fields) = refusal.as_object().expect("a word").iter().next().expect("a word");
    (word.clone(), fields.clone())
}

/// Checks that a helper refuses to start for this reason and leaves nothing attached.
pub fn assert_refused(
    environment: &Environment,
    run_as: &RunAs,
    program: &Path,
    expected: &str,
) -> Value {
    let (word, fields) = refusal(environment, &mut environment.command(run_as, program));
    assert_eq!(word, expected, "{fields}");
    fields
}

/// Checks that the installed helper, started by the user in a session, refuses to start.
pub fn assert_user_is_refused(environment: &Environment, expected: &str) -> Value {
    assert_refused(environment, &RunAs::user().within(SESSION), &path(environment), expected)
}

/// The number of programs attached to the user's slice: two for each helper.
pub fn attached(environment: &Environment) -> u32 {
    bpf::attached(&environment.cgroup(SLICE))
}

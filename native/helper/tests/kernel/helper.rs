//! The helper as an admin installs it, and what a library says to it: frames of JSON, written out
//! here so that the protocol is checked from outside.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    bpf,
    ground::{
        Ground, POD4, POD6, SESSION, SLICE, VIA, Who, install as copy, set_file_capabilities,
    },
    process::Process,
};

/// What the helper is installed with.
pub const CAPABILITIES: &str = "cap_bpf,cap_net_admin,cap_perfmon=p";

/// The helper that is tested.
pub fn built() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_k8s_connect_helper");
    env::var_os("K8S_CONNECT_HELPER").map_or_else(|| built.into(), PathBuf::from)
}

/// Puts a copy with its capabilities where the user can run it.
pub fn install(ground: &Ground) {
    let path = path(ground);
    copy(&built(), &path, 0o755);
    set_file_capabilities(&path, CAPABILITIES);
}

/// The installed copy.
pub fn path(ground: &Ground) -> PathBuf {
    ground.file("helper")
}

/// A copy without capabilities.
pub fn bare(ground: &Ground) -> PathBuf {
    let path = ground.file("bare_helper");
    copy(&built(), &path, 0o755);
    path
}

/// A helper that runs.
pub struct Helper {
    pub process: Process,
    life: i32,
    id: u64,
}

impl Helper {
    /// The user's, in a session; redirects the pod's addresses to the listener.
    pub fn start(ground: &Ground) -> Self {
        let mut helper = Self::ready(ground, &Who::user().within(SESSION));
        helper.apply(&[(POD4, VIA), (POD6, VIA)]).expect("a listener of the user's");
        helper
    }

    /// Somebody's, without redirects.
    pub fn ready(ground: &Ground, who: &Who) -> Self {
        Self::ready_by(ground, &mut ground.command(who, &path(ground)))
    }

    /// Started by a command, without redirects.
    pub fn ready_by(ground: &Ground, command: &mut Command) -> Self {
        let mut helper = Self::spawn(ground, command);
        let first = helper.read();
        let ready = first.as_ref().and_then(|first| first.get("ready"));
        let ready = ready.unwrap_or_else(|| panic!("not ready: {first:?}"));
        assert_eq!(ready["major"], 2, "{ready}");
        helper.greet();
        helper
    }

    /// Started, and nothing read or said yet.
    pub fn spawn(ground: &Ground, command: &mut Command) -> Self {
        Self { process: Process::start(command), life: ground.listener.pid(), id: 0 }
    }

    /// The library's first words: the helper lives as long as the listener.
    pub fn greet(&mut self) {
        self.greet_for(self.life);
    }

    /// The helper lives as long as this process.
    pub fn greet_for(&mut self, pid: i32) {
        self.say(&json!({"hello": {"major": 2, "minor": 0, "pid": pid}}));
    }

    pub fn say(&mut self, message: &Value) {
        let body = message.to_string().into_bytes();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.process.send(&[&length[..], &body].concat());
    }

    /// The next frame, if one comes before the end.
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

    /// Makes these the redirects; or the refusal.
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

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) {
        let answer = self.ask(&json!({"stop": {"id": 7}}));
        assert_eq!(answer, json!({"stopped": {"id": 7}}));
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

/// The word and the fields of the refusal of a helper that does not start.
pub fn refusal(ground: &Ground, command: &mut Command) -> (String, Value) {
    let mut helper = Helper::spawn(ground, command);
    let first = helper.read().unwrap_or_else(|| panic!("it said nothing"));
    let refused = first.get("refused").unwrap_or_else(|| panic!("not refused: {first}"));
    assert_eq!(refused["id"], Value::Null, "{first}");
    assert_eq!(helper.process.wait().code(), Some(1), "{first}");
    word(&refused["refusal"])
}

/// A refusal is its word, or an object with the word as its one key.
pub fn word(refusal: &Value) -> (String, Value) {
    if let Some(word) = refusal.as_str() {
        return (word.to_owned(), Value::Null);
    }
    let (word, fields) = refusal.as_object().expect("a word").iter().next().expect("a word");
    (word.clone(), fields.clone())
}

/// That a helper does not start, for this reason, and leaves nothing attached.
pub fn is_refused(ground: &Ground, who: &Who, program: &Path, expected: &str) -> Value {
    let (word, fields) = refusal(ground, &mut ground.command(who, program));
    assert_eq!(word, expected, "{fields}");
    fields
}

/// The user, in a session, who starts the installed helper and is refused.
pub fn user_is_refused(ground: &Ground, expected: &str) -> Value {
    is_refused(ground, &Who::user().within(SESSION), &path(ground), expected)
}

/// How many programs are attached to the user's slice; two for each helper.
pub fn attached(ground: &Ground) -> u32 {
    bpf::attached(&ground.cgroup(SLICE))
}

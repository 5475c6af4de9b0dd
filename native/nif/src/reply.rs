//! One answer for each call, whatever happens to the work: a task that panics or is dropped
//! still sends `{reference, {:error, …}}`, so that no caller waits for ever.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_connect_core::{Error, attach::Step};
use rustler::{
    Atom, Encoder, Env, LocalPid, Monitor, NifResult, OwnedEnv, Reference, Resource, ResourceArc,
    Term,
    env::SavedTerm,
    types::atom::{error, ok},
};
use tokio::sync::Notify;

use crate::{encode, runtime, trace::Trace};

/// Runs `work` on our threads and sends its result to the calling process.
pub fn spawn<T, F>(env: Env, reference: Reference, work: F) -> NifResult<Atom>
where
    T: Encoder + Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    spawn_with(&Arc::new(Caller::new(env, reference)), work)
}

/// As [`spawn`], where the work has more to say to its caller than its result.
pub fn spawn_with<T, F>(caller: &Arc<Caller>, work: F) -> NifResult<Atom>
where
    T: Encoder + Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let reply = Reply { caller: caller.clone(), sent: false };
    let threads = runtime::handle().ok_or(rustler::Error::RaiseAtom("not_started"))?;
    threads.spawn(async move {
        let watch = ResourceArc::new(Watch::default());
        if watch.monitor(None, &reply.caller.pid()).is_none() {
            return; // the caller is gone already
        }
        tokio::select! {
            result = work => reply.send(&result),
            () = watch.gone.notified() => {}
        }
    });
    Ok(ok())
}

/// Work that nobody waits for any more is dropped, with the plugin that it may be waiting for.
#[derive(Default)]
struct Watch {
    gone: Notify,
}

#[rustler::resource_impl]
impl Resource for Watch {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _caller: LocalPid, _monitor: Monitor) {
        self.gone.notify_one();
    }
}

/// Who has called, and the reference that marks all messages to it.
pub struct Caller {
    pid: LocalPid,
    /// The reference, and the environment that it is kept in.
    reference: Mutex<(OwnedEnv, SavedTerm)>,
}

impl Caller {
    pub fn new(caller: Env, reference: Reference) -> Self {
        let home = OwnedEnv::new();
        let reference = home.save(reference);
        Self { pid: caller.pid(), reference: Mutex::new((home, reference)) }
    }

    pub fn pid(&self) -> LocalPid {
        self.pid
    }

    /// Sends `{reference, {:trace, name, detail, us, took_us | nil}}`.
    pub fn trace(&self, trace: &Trace) {
        self.deliver(|env| encode::trace(env, trace));
    }

    /// Sends `{reference, {:step, name, detail, ms}}`.
    pub fn tell(&self, step: &Step) {
        self.deliver(|env| encode::step(env, step));
    }

    /// Sends `{reference, {:pods, [{name, uid}]}}`.
    pub fn pods(&self, pods: &[(String, String)]) {
        self.deliver(|env| encode::pods(env, pods));
    }

    /// Never on a scheduler's thread, where the VM forbids it.
    fn deliver(&self, body: impl FnOnce(Env) -> Term) {
        let kept = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let (home, reference) = &*kept;
        // An error here means that the caller is gone, and with it whoever wanted to know.
        let _ = OwnedEnv::new().send_and_clear(&self.pid, |env| {
            let reference = home.run(|home| reference.load(home).in_env(env));
            (reference, body(env)).encode(env)
        });
    }
}

struct Reply {
    caller: Arc<Caller>,
    sent: bool,
}

impl Reply {
    fn send<T: Encoder>(mut self, result: &Result<T, Error>) {
        self.sent = true;
        self.caller.deliver(|env| match result {
            Ok(value) => (ok(), value).encode(env),
            Err(failure) => (error(), encode::failure(env, failure)).encode(env),
        });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // On a scheduler's thread nothing was started, and the NIF itself has answered.
        if !self.sent && !rustler::thread::is_scheduler_thread() {
            self.caller.deliver(|env| (error(), encode::task_died(env)).encode(env));
        }
    }
}

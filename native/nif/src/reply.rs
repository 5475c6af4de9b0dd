//! One reply for each call: a task that panics or is dropped still sends `{reference, {:error, …}}`, so that
//! no caller waits for ever.

use std::sync::Arc;

use k8s_connect_core::Error;
use rustler::{
    Atom, Encoder, Env, LocalPid, Monitor, NifResult, Reference, Resource, ResourceArc, Term,
    types::atom::{error, ok},
};
use tokio::sync::Notify;

use crate::{
    caller::Caller,
    error::{Failure, task_crashed},
    runtime,
};

/// Runs `work` on our threads and sends its result to the calling process.
pub fn spawn<T, F>(env: Env, reference: Reference, work: F) -> NifResult<Atom>
where
    T: Encoder + Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    spawn_with(&Arc::new(Caller::new(env, reference)), work)
}

/// As [`spawn`], for work that sends other messages to its caller as well.
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
            return; // the caller has exited
        }
        tokio::select! {
            result = work => reply.send(result),
            () = watch.gone.notified() => {}
        }
    });
    Ok(ok())
}

/// Drops the work of a caller that has exited, and with it a plugin that may run.
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

struct Reply {
    caller: Arc<Caller>,
    sent: bool,
}

impl Reply {
    fn send<T: Encoder>(mut self, result: Result<T, Error>) {
        self.sent = true;
        match result {
            Ok(value) => self.caller.send(&(ok(), value)),
            Err(failure) => self.caller.send(&(error(), Failure(failure))),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // On a scheduler's thread nothing was started, and the NIF itself has answered.
        if !self.sent && !rustler::thread::is_scheduler_thread() {
            self.caller.send(&(error(), TaskCrashed));
        }
    }
}

struct TaskCrashed;

impl Encoder for TaskCrashed {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        task_crashed(env)
    }
}

//! One answer for each call, whatever happens to the work: a task that panics or is dropped
//! still sends `{reference, {:error, …}}`, so that no caller waits for ever.

use k8s_connect_core::Error;
use rustler::{
    Atom, Encoder, Env, LocalPid, NifResult, OwnedEnv, Reference, Term,
    env::SavedTerm,
    types::atom::{error, ok},
};

use crate::{encode, runtime};

/// Runs `work` on our threads and sends its result to the calling process.
pub fn spawn<T, F>(env: Env, reference: Reference, work: F) -> NifResult<Atom>
where
    T: Encoder + Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let reply = Reply::new(env, reference);
    let threads = runtime::handle().ok_or(rustler::Error::RaiseAtom("not_started"))?;
    threads.spawn(async move {
        let result = work.await;
        reply.send(&result);
    });
    Ok(ok())
}

struct Reply {
    to: LocalPid,
    env: OwnedEnv,
    reference: SavedTerm,
    sent: bool,
}

impl Reply {
    fn new(caller: Env, reference: Reference) -> Self {
        let env = OwnedEnv::new();
        let reference = env.save(reference);
        Self { to: caller.pid(), env, reference, sent: false }
    }

    fn send<T: Encoder>(mut self, result: &Result<T, Error>) {
        self.deliver(|env| match result {
            Ok(value) => (ok(), value).encode(env),
            Err(failure) => (error(), encode::failure(env, failure)).encode(env),
        });
    }

    fn deliver(&mut self, result: impl FnOnce(Env) -> Term) {
        self.sent = true;
        let reference = self.reference.clone();
        // An error here means that the caller is gone, and with it whoever wanted the answer.
        let _ =
            self.env.send_and_clear(&self.to, |env| (reference.load(env), result(env)).encode(env));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // On a scheduler's thread nothing was started, and the NIF itself has answered.
        if !self.sent && !rustler::thread::is_scheduler_thread() {
            self.deliver(|env| (error(), encode::task_died(env)).encode(env));
        }
    }
}

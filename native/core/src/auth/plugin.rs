//! What a plugin has answered, for all that are the same user by it. It is asked by one caller at
//! a time; the others wait, and take the answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Credentials, Error, exec::Call};

/// Credentials are old this long before they expire: a request takes its time.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// What has expired when it comes is used all the same, for this long: it will be no better the next
/// time, and the clock may be wrong.
const FRESH: Duration = Duration::from_secs(1);

/// After a failure, and after a 401, the program is not run again at once: many may ask.
const QUIET: Duration = Duration::from_secs(5);

/// Of all users that log in by a plugin, by their entries; for as long as the VM runs.
static PLUGINS: Mutex<Option<HashMap<String, Arc<Plugin>>>> = Mutex::new(None);

#[derive(Default)]
pub(crate) struct Plugin {
    state: tokio::sync::Mutex<State>,
    /// Since when it runs, and how long it did the last time.
    times: Mutex<(Option<Instant>, Option<Duration>)>,
}

#[derive(Default)]
struct State {
    /// What the credentials are of: another environment may make another user.
    environment: u64,
    /// And when they came.
    credentials: Option<(Instant, Credentials)>,
    failure: Option<(Instant, Error)>,
    renewed: Option<Instant>,
    runs: u64,
}

/// The plugin of an entry.
pub(crate) fn of(call: &Call) -> Arc<Plugin> {
    let mut plugins = PLUGINS.lock().unwrap_or_else(PoisonError::into_inner);
    plugins.get_or_insert_default().entry(call.entry()).or_default().clone()
}

impl Plugin {
    pub async fn credentials(&self, call: &Call) -> Result<Credentials, Error> {
        let mut state = self.turn(call).await?;
        match state.good() {
            Some(credentials) => Ok(credentials.clone()),
            None => self.run(&mut state, call).await,
        }
    }

    /// Other credentials than those of this run, which the server did not take. `None` where the
    /// program has been asked for that a moment ago: it has no better ones.
    pub async fn renew(&self, call: &Call, refused: u64) -> Option<Result<Credentials, Error>> {
        let mut state = match self.turn(call).await {
            Ok(state) => state,
            Err(error) => return Some(Err(error)),
        };
        if let Some(others) = state.good().filter(|good| good.generation != refused) {
            return Some(Ok(others.clone()));
        }
        if state.renewed.is_some_and(|at| at.elapsed() < QUIET) {
            return None;
        }
        state.renewed = Some(Instant::now());
        Some(self.run(&mut state, call).await)
    }

    /// Since when the program runs.
    pub fn running(&self) -> Option<Duration> {
        self.times().0.map(|start| start.elapsed())
    }

    /// How long its last run took.
    pub fn took(&self) -> Option<Duration> {
        self.times().1
    }

    /// Waits until nobody else asks the program, no longer than a run of our own may take.
    async fn turn(&self, call: &Call) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        let turn = self.state.lock();
        let mut state = match call.limit() {
            Some(limit) => {
                tokio::time::timeout(limit, turn).await.map_err(|_| call.too_slow(limit))?
            }
            None => turn.await,
        };
        let environment = call.environment().digest();
        if state.environment != environment {
            *state = State { environment, runs: state.runs, ..State::default() };
        }
        Ok(state)
    }

    async fn run(&self, state: &mut State, call: &Call) -> Result<Credentials, Error> {
        if let Some((at, failure)) = &state.failure
            && at.elapsed() < QUIET
        {
            return Err(failure.clone());
        }
        state.failure = None;
        let running = Running::new(self);
        let answer = call.run().await;
        drop(running);
        match answer {
            Ok(credentials) => {
                state.runs += 1;
                let credentials = Credentials { generation: state.runs, ..credentials };
                Ok(state.credentials.insert((Instant::now(), credentials)).1.clone())
            }
            // Nothing was run: the next one may have a terminal.
            Err(error @ Error::PluginNeedsTerminal { .. }) => Err(error),
            Err(error) => {
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn times(&self) -> std::sync::MutexGuard<'_, (Option<Instant>, Option<Duration>)> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn good(&self) -> Option<&Credentials> {
        let (came, credentials) = self.credentials.as_ref()?;
        let valid = |expires: Timestamp| Timestamp::now() + MARGIN < expires;
        let good = credentials.expires.is_none_or(valid) || came.elapsed() < FRESH;
        good.then_some(credentials)
    }
}

/// A run, which may also end by nobody waiting for it any more.
struct Running<'a>(&'a Plugin);

impl<'a> Running<'a> {
    fn new(plugin: &'a Plugin) -> Self {
        plugin.times().0 = Some(Instant::now());
        Self(plugin)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut times = self.0.times();
        times.1 = times.0.take().map(|start| start.elapsed());
    }
}

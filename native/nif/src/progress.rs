//! Messages to the caller of `attach` while it runs.

use std::{sync::Arc, time::Duration};

use k8s_connect_core::attach::{Progress, Step};
use rustler::{Encoder, Env, Term};

use crate::{
    caller::Caller,
    trace::{self, Event},
};

mod atoms {
    rustler::atoms! { step, trace }
}

/// Sends `{reference, {:step, name, detail, ms}}` for each finished step.
pub fn to_caller(caller: &Arc<Caller>) -> Progress {
    let caller = caller.clone();
    Progress::new(move |step| caller.send(&StepMessage(step)))
}

/// Sends `{reference, {:trace, name, detail, us, took_us | nil}}` for each event of a protocol.
pub fn trace_to_caller(caller: &Arc<Caller>) -> tracing::Dispatch {
    let caller = caller.clone();
    trace::dispatch(move |event| caller.send(&TraceMessage(event)))
}

struct StepMessage(Step);

impl Encoder for StepMessage {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self(step) = self;
        (atoms::step(), step.name, &step.detail, step.ms).encode(env)
    }
}

struct TraceMessage(Event);

impl Encoder for TraceMessage {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self(event) = self;
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (at, took) = (us(event.at), event.took.map(us));
        (atoms::trace(), event.name, &event.detail, at, took).encode(env)
    }
}

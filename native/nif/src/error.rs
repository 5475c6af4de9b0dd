//! Errors of the core as Elixir terms: `{stage, {kind, details}}`, as `K8sConnect.Error` takes them. Each error
//! of the core describes itself; here only the terms are built.

use std::collections::HashMap;

use k8s_connect_core::Error;
use rustler::{Atom, Encoder, Env, NifResult, Term};
use serde_json::{Map, Value};

mod atoms {
    rustler::atoms! { native, task_crashed }
}

/// An error as a value.
pub struct Failure(pub Error);

impl Encoder for Failure {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match failure(env, &self.0) {
            Ok(Some(term)) => term,
            // Every error of the core has a reason, and its names can be atoms.
            Ok(None) | Err(_) => task_crashed(env),
        }
    }
}

/// Only so that it can be a field of a `NifMap`: nothing decodes it.
impl<'a> rustler::Decoder<'a> for Failure {
    fn decode(_term: Term<'a>) -> NifResult<Self> {
        Err(rustler::Error::BadArg)
    }
}

/// The failure of a task that ended without a result.
pub fn task_crashed(env: Env) -> Term {
    (atoms::native(), (atoms::task_crashed(), HashMap::<Atom, Term>::new())).encode(env)
}

fn failure<'a>(env: Env<'a>, error: &Error) -> NifResult<Option<Term<'a>>> {
    let Some(reason) = error.reason() else { return Ok(None) };
    let stage = Atom::from_str(env, error.stage())?;
    let kind = Atom::from_str(env, &reason.kind)?;
    Ok(Some((stage, (kind, map(env, &reason.details)?)).encode(env)))
}

/// The names become atoms. They are the fields of the core's errors, so there are only so many.
fn map<'a>(env: Env<'a>, fields: &Map<String, Value>) -> NifResult<Term<'a>> {
    let fields: NifResult<HashMap<Atom, Term>> = fields
        .iter()
        .map(|(name, value)| Ok((Atom::from_str(env, name)?, term(env, value)?)))
        .collect();
    Ok(fields?.encode(env))
}

fn term<'a>(env: Env<'a>, value: &Value) -> NifResult<Term<'a>> {
    Ok(match value {
        Value::Null => rustler::types::atom::nil().encode(env),
        Value::Bool(value) => value.encode(env),
        Value::String(text) => text.encode(env),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.encode(env),
            (None, Some(number)) => number.encode(env),
            (None, None) => number.as_f64().unwrap_or_default().encode(env),
        },
        Value::Array(values) => {
            let terms: NifResult<Vec<Term>> = values.iter().map(|value| term(env, value)).collect();
            terms?.encode(env)
        }
        Value::Object(fields) => map(env, fields)?,
    })
}

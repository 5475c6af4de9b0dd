//! The helper's frames, for Elixir: written from plain arguments, read as terms.

use std::collections::HashMap;

use k8s_connect_wire::{
    self as wire, Answer, Destination, MAJOR, MINOR, Missing, Redirect, Refusal, Request,
};
use rustler::{Atom, Binary, Encoder, Env, NewBinary, NifResult, Term};

mod atoms {
    rustler::atoms! {
        hello, applied, status, refused, unreadable,
        major, minor, version, uid, mechanism, unable, redirects, routed, capabilities,
        malformed, too_long, empty, wrong_version, no_hello, second_hello, not_your_process, set_uid,
        not_permitted, too_many_helpers, limit, too_many, bad_destination, low_port, twice, no_listener, foreign_listener,
        no_route, kernel,
        problem, length, pid, why, count, to, port, via, step,
        file_capability, no_new_privs, bounding_set, no_suid, unknown,
        local, loopback, unspecified, multicast, broadcast, link_local, reserved, mapped,
    }
}

/// The first frame.
#[rustler::nif]
fn hello_frame(env: Env<'_>, pid: u32) -> Binary<'_> {
    frame(env, &Request::Hello { major: MAJOR, minor: MINOR, pid })
}

/// Redirects are `{address_and_port, loopback_port}`.
#[rustler::nif]
fn apply_frame(env: Env<'_>, id: u64, redirects: Vec<(String, u16)>) -> NifResult<Binary<'_>> {
    let redirect = |(to, via): (String, u16)| {
        to.parse().map(|to| Redirect { to, via }).map_err(|_| rustler::Error::BadArg)
    };
    let redirects = redirects.into_iter().map(redirect).collect::<NifResult<_>>()?;
    Ok(frame(env, &Request::Apply { id, redirects }))
}

/// Asks how things are.
#[rustler::nif]
fn status_frame(env: Env<'_>, id: u64) -> Binary<'_> {
    frame(env, &Request::Status { id })
}

/// Asks for the end.
#[rustler::nif]
fn reset_frame(env: Env<'_>, id: u64) -> Binary<'_> {
    frame(env, &Request::Reset { id })
}

/// `{:hello, map}`, `{:applied, id, map}`, `{:status, id, map}`, `{:refused, id, {kind, details}}`
/// or `{:unreadable, problem}`.
#[rustler::nif]
fn read_frame<'a>(env: Env<'a>, frame: Binary) -> Term<'a> {
    match wire::answer(&frame) {
        Ok(answer) => encode(env, &answer),
        Err(problem) => (atoms::unreadable(), problem).encode(env),
    }
}

fn frame<'a>(env: Env<'a>, request: &Request) -> Binary<'a> {
    let bytes = wire::encode(request);
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(&bytes);
    binary.into()
}

/// `%{name: value}`, each named like the variable that holds it.
macro_rules! map {
    ($env:ident, $($name:ident),*) => {{
        let pairs = [$((atoms::$name(), $name.encode($env))),*];
        pairs.into_iter().collect::<HashMap<Atom, Term>>()
    }};
}

/// `{kind, %{detail: value}}`
macro_rules! reason {
    ($env:ident, $kind:ident { $($detail:ident),* }) => {
        (atoms::$kind(), map!($env, $($detail),*)).encode($env)
    };
}

fn encode<'a>(env: Env<'a>, answer: &Answer) -> Term<'a> {
    match answer {
        Answer::Hello { major, minor, version, uid, mechanism, unable } => {
            let unable = unable.as_ref().map(|refusal| reason(env, refusal));
            (atoms::hello(), map!(env, major, minor, version, uid, mechanism, unable)).encode(env)
        }
        Answer::Applied { id, redirects, routed } => {
            let routed = texts(routed);
            (atoms::applied(), id, map!(env, redirects, routed)).encode(env)
        }
        Answer::Status { id, redirects, routed, capabilities } => {
            let redirects: Vec<_> =
                redirects.iter().map(|redirect| (redirect.to.to_string(), redirect.via)).collect();
            let routed = texts(routed);
            (atoms::status(), id, map!(env, redirects, routed, capabilities)).encode(env)
        }
        Answer::Refused { id, refusal } => (atoms::refused(), id, reason(env, refusal)).encode(env),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn reason<'a>(env: Env<'a>, refusal: &Refusal) -> Term<'a> {
    use Refusal as R;
    match refusal {
        R::Malformed { problem } => reason!(env, malformed { problem }),
        R::TooLong { length } => reason!(env, too_long { length }),
        R::Empty => (atoms::empty(), HashMap::<Atom, Term>::new()).encode(env),
        R::WrongVersion { major, minor } => reason!(env, wrong_version { major, minor }),
        R::NoHello => (atoms::no_hello(), HashMap::<Atom, Term>::new()).encode(env),
        R::SecondHello => (atoms::second_hello(), HashMap::<Atom, Term>::new()).encode(env),
        R::NotYourProcess { pid } => reason!(env, not_your_process { pid }),
        R::SetUid => (atoms::set_uid(), HashMap::<Atom, Term>::new()).encode(env),
        R::NotPermitted { why } => {
            let why = missing(*why);
            reason!(env, not_permitted { why })
        }
        R::TooManyHelpers { limit } => reason!(env, too_many_helpers { limit }),
        R::TooMany { count } => reason!(env, too_many { count }),
        R::BadDestination { to, why } => {
            let (to, why) = (to.to_string(), destination(*why));
            reason!(env, bad_destination { to, why })
        }
        R::LowPort { to, port } => {
            let to = to.to_string();
            reason!(env, low_port { to, port })
        }
        R::Twice { to } => {
            let to = to.to_string();
            reason!(env, twice { to })
        }
        R::NoListener { via } => reason!(env, no_listener { via }),
        R::ForeignListener { via, uid } => reason!(env, foreign_listener { via, uid }),
        R::NoRoute { to, problem } => {
            let to = to.to_string();
            reason!(env, no_route { to, problem })
        }
        R::Kernel { step, problem } => reason!(env, kernel { step, problem }),
    }
}

fn missing(why: Missing) -> Atom {
    match why {
        Missing::FileCapability => atoms::file_capability(),
        Missing::NoNewPrivs => atoms::no_new_privs(),
        Missing::BoundingSet => atoms::bounding_set(),
        Missing::NoSuid => atoms::no_suid(),
        Missing::Unknown => atoms::unknown(),
    }
}

fn destination(why: Destination) -> Atom {
    match why {
        Destination::Local => atoms::local(),
        Destination::Loopback => atoms::loopback(),
        Destination::Unspecified => atoms::unspecified(),
        Destination::Multicast => atoms::multicast(),
        Destination::Broadcast => atoms::broadcast(),
        Destination::LinkLocal => atoms::link_local(),
        Destination::Reserved => atoms::reserved(),
        Destination::Mapped => atoms::mapped(),
    }
}

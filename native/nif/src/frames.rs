//! The frames of the helper: encodes requests from Elixir arguments, and decodes answers to terms.

use std::collections::HashMap;

use k8s_connect_wire::{
    self as wire, Answer, Destination, MAJOR, MINOR, Missing, Redirect, Refusal, Request,
};
use rustler::{Atom, Binary, Encoder, Env, NewBinary, NifResult, Term};

mod atoms {
    rustler::atoms! {
        ready, applied, status, stopped, refused, unreadable,
        major, minor, supported, version, uid, gid, redirects,
        set_uid, no_caller, no_capability, no_new_privs, nosuid, no_cgroup2, no_user_slice, no_btf,
        no_bpf, exclusive_program, override_program, too_many, self_test_failed,
        malformed, too_long, empty, wrong_version, no_hello, second_hello, no_such_process,
        too_many_redirects, bad_destination, low_port, duplicate_redirect, no_listener, foreign_listener, kernel,
        problem, length, pid, cause, count, to, port, via, step, limit, cgroup, name, test,
        file_capabilities, bounding_set, user_namespace, unknown,
        local, loopback, unspecified, multicast, broadcast, link_local, reserved, mapped,
    }
}

/// The first request.
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

/// Requests the current redirects.
#[rustler::nif]
fn status_frame(env: Env<'_>, id: u64) -> Binary<'_> {
    frame(env, &Request::Status { id })
}

/// Requests the helper to stop.
#[rustler::nif]
fn stop_frame(env: Env<'_>, id: u64) -> Binary<'_> {
    frame(env, &Request::Stop { id })
}

/// `{:ready, map}`, `{:applied, id, map}`, `{:status, id, map}`, `{:stopped, id, map}`,
/// `{:refused, id, {kind, details}}` or `{:unreadable, problem}`.
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
        let pairs: &[(Atom, Term)] = &[$((atoms::$name(), $name.encode($env))),*];
        pairs.iter().copied().collect::<HashMap<Atom, Term>>()
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
        Answer::Ready { major, minor, version, uid, gid } => {
            (atoms::ready(), map!(env, major, minor, version, uid, gid)).encode(env)
        }
        Answer::Applied { id, redirects } => {
            (atoms::applied(), id, map!(env, redirects)).encode(env)
        }
        Answer::Status { id, redirects } => {
            let redirects: Vec<_> =
                redirects.iter().map(|redirect| (redirect.to.to_string(), redirect.via)).collect();
            (atoms::status(), id, map!(env, redirects)).encode(env)
        }
        Answer::Stopped { id } => (atoms::stopped(), id, no_details()).encode(env),
        Answer::Refused { id, refusal } => (atoms::refused(), id, reason(env, refusal)).encode(env),
    }
}

fn no_details<'a>() -> HashMap<Atom, Term<'a>> {
    HashMap::new()
}

fn reason<'a>(env: Env<'a>, refusal: &Refusal) -> Term<'a> {
    use Refusal as R;
    match refusal {
        R::SetUid => reason!(env, set_uid {}),
        R::NoCaller => reason!(env, no_caller {}),
        R::NoCapability { cause } => {
            let cause = missing(*cause);
            reason!(env, no_capability { cause })
        }
        R::NoNewPrivs => reason!(env, no_new_privs {}),
        R::Nosuid => reason!(env, nosuid {}),
        R::NoCgroup2 => reason!(env, no_cgroup2 {}),
        R::NoUserSlice { cgroup, uid } => reason!(env, no_user_slice { cgroup, uid }),
        R::NoBtf { name } => reason!(env, no_btf { name }),
        R::NoBpf { step, problem } => reason!(env, no_bpf { step, problem }),
        R::ExclusiveProgram { cgroup } => reason!(env, exclusive_program { cgroup }),
        R::OverrideProgram { cgroup } => reason!(env, override_program { cgroup }),
        R::TooMany { limit } => reason!(env, too_many { limit }),
        R::SelfTestFailed { test } => reason!(env, self_test_failed { test }),
        R::Malformed { problem } => reason!(env, malformed { problem }),
        R::TooLong { length } => reason!(env, too_long { length }),
        R::Empty => reason!(env, empty {}),
        R::WrongVersion { major, minor } => {
            let supported = MAJOR;
            reason!(env, wrong_version { major, minor, supported })
        }
        R::NoHello => reason!(env, no_hello {}),
        R::SecondHello => reason!(env, second_hello {}),
        R::NoSuchProcess { pid } => reason!(env, no_such_process { pid }),
        R::TooManyRedirects { count } => reason!(env, too_many_redirects { count }),
        R::BadDestination { to, cause } => {
            let (to, cause) = (to.to_string(), destination(*cause));
            reason!(env, bad_destination { to, cause })
        }
        R::LowPort { to, port } => {
            let to = to.to_string();
            reason!(env, low_port { to, port })
        }
        R::DuplicateRedirect { to } => {
            let to = to.to_string();
            reason!(env, duplicate_redirect { to })
        }
        R::NoListener { via } => reason!(env, no_listener { via }),
        R::ForeignListener { via, uid } => reason!(env, foreign_listener { via, uid }),
        R::Kernel { step, problem } => reason!(env, kernel { step, problem }),
    }
}

fn missing(cause: Missing) -> Atom {
    match cause {
        Missing::FileCapabilities => atoms::file_capabilities(),
        Missing::BoundingSet => atoms::bounding_set(),
        Missing::UserNamespace => atoms::user_namespace(),
        Missing::Unknown => atoms::unknown(),
    }
}

fn destination(cause: Destination) -> Atom {
    match cause {
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

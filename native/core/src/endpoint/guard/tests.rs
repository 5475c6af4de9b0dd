//! What passes the guard on a connection, by what is tested.

#![allow(clippy::cloned_ref_to_slice_refs, clippy::unwrap_used)]

mod answers;
mod capabilities;
mod error_info;
mod group_leader;
mod limits;
mod messages;
mod monitors;
mod read_only;
mod signals;
mod support;

pub(super) use support::Pair;

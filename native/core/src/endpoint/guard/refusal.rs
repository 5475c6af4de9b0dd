//! What is refused, by kind.

use serde::Serialize;

use crate::text::printable;

/// Of what is said about a refused message, which the pod has written.
const MAX_DETAIL: usize = 200;

/// What a pod tried and may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To start a process.
    Spawn,
    /// To send to a process that was not given out.
    Send,
    /// To send to a registered name.
    Name,
    /// To send what a process of OTP handles as a command.
    Message,
    /// To send something else than an I/O request to a group leader.
    GroupLeader,
    /// To have a group leader call a function.
    IoRequest,
    /// To monitor a process that was not given out, or a name.
    Monitor,
    /// To link itself to a process.
    Link,
    /// To end a process.
    Exit,
    /// To change the group leader of a process.
    SetGroupLeader,
    /// Any other message.
    Other,
    /// The local node: to do more than read.
    ReadOnly,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Spawn,
        Self::Send,
        Self::Name,
        Self::Message,
        Self::GroupLeader,
        Self::IoRequest,
        Self::Monitor,
        Self::Link,
        Self::Exit,
        Self::SetGroupLeader,
        Self::Other,
        Self::ReadOnly,
    ];

    /// Its name in Elixir.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Send => "send",
            Self::Name => "name",
            Self::Message => "message",
            Self::GroupLeader => "group_leader",
            Self::IoRequest => "io_request",
            Self::Monitor => "monitor",
            Self::Link => "link",
            Self::Exit => "exit",
            Self::SetGroupLeader => "set_group_leader",
            Self::Other => "other",
            Self::ReadOnly => "read_only",
        }
    }
}

/// A message that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of the attempt.
    pub kind: Kind,
    /// The function, name or tag in it, printable.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(kind: Kind, detail: &str) -> Self {
        Self { kind, detail: printable(detail, MAX_DETAIL) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_kind_has_its_own_count_and_name() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}

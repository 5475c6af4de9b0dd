//! The distribution flags that both sides may see:
//! <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-flags>.
//!
//! `global` in a cluster may disconnect its nodes when a visible node on a laptop joins, so both sides are hidden to each
//! other. No digest covers the flags.
//!
//! A flag announces messages. The guard clears the flags of messages that it cannot judge alone: atom caches and
//! fragments need a state between messages. It also clears each flag that it does not know, so that a later OTP does
//! not send messages that the guard does not know.

/// The node is visible to `global`.
const PUBLISHED: u64 = 1;

/// What OTP 25 to 29 use, as (bit, name in the documentation).
const KNOWN: [(u32, &str); 25] = [
    (0, "PUBLISHED"),
    (2, "EXTENDED_REFERENCES"),
    (3, "DIST_MONITOR"),
    (4, "FUN_TAGS"),
    (5, "DIST_MONITOR_NAME"),
    (7, "NEW_FUN_TAGS"),
    (8, "EXTENDED_PIDS_PORTS"),
    (9, "EXPORT_PTR_TAG"),
    (10, "BIT_BINARIES"),
    (11, "NEW_FLOATS"),
    (12, "UNICODE_IO"),
    (14, "SMALL_ATOM_TAGS"),
    (16, "UTF8_ATOMS"),
    (17, "MAP_TAG"),
    (18, "BIG_CREATION"),
    (19, "SEND_SENDER"),
    (20, "BIG_SEQTRACE_LABELS"),
    (22, "EXIT_PAYLOAD"),
    (24, "HANDSHAKE_23"),
    (25, "UNLINK_ID"),
    (26, "MANDATORY_25_DIGEST"),
    (32, "SPAWN"),
    (33, "NAME_ME"),
    (34, "V4_NC"),
    (35, "ALIAS"),
];

/// Which flags the two nodes see of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    /// All of them.
    All,
    /// All but that of a visible node.
    Hidden,
    /// Of messages that the guard can judge. `visible`: whether they may say that the node is visible.
    Guarded { visible: bool },
}

impl Flags {
    /// The flags of a node as the other one may see them.
    pub(super) fn of(self, flags: u64) -> u64 {
        match self {
            Self::All => flags,
            Self::Hidden => flags & !PUBLISHED,
            Self::Guarded { visible } => allowed(flags, visible),
        }
    }
}

fn allowed(flags: u64, visible: bool) -> u64 {
    let known = KNOWN.iter().fold(0, |known, (bit, _name)| known | 1_u64 << bit);
    let hidden = if visible { 0 } else { PUBLISHED };
    flags & known & !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DFLAG_DIST_MANDATORY` of OTP 26 and later, from `dist.hrl`.
    const MANDATORY: u64 = 0x4
        | 0x10
        | 0x80
        | 0x100
        | 0x200
        | 0x400
        | 0x800
        | 0x1_0000
        | 0x2_0000
        | 0x4_0000
        | 1 << 24
        | 1 << 25
        | 1 << 34;
    /// `DIST_HDR_ATOM_CACHE`, `FRAGMENTS`, `ALTACT_SIG`, `NATIVE_RECORDS`
    const CLEARED: u64 = 0x2000 | 0x80_0000 | 1 << 37 | 1 << 38;

    #[test]
    fn mandatory_flags_stay_and_those_of_other_messages_go() {
        let all = allowed(u64::MAX, true);
        assert_eq!(all & MANDATORY, MANDATORY);
        assert_eq!(all & CLEARED, 0);
        assert_eq!(all >> 36, 0, "flags of a later OTP");
        assert_eq!(allowed(0, true), 0);
    }

    #[test]
    fn a_node_is_published_only_if_it_may_be() {
        assert_eq!(allowed(PUBLISHED, true), PUBLISHED);
        assert_eq!(allowed(PUBLISHED | 4, false), 4);
        assert_eq!(Flags::Hidden.of(u64::MAX), u64::MAX - 1);
        assert_eq!(Flags::All.of(u64::MAX), u64::MAX);
    }
}

//! Any bytes from epmd and from a node: no panic, and no invalid node name.
#![no_main]

use k8s_connect_core::node::{epmd::Names, handshake::Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut names = Names::default();
    names.feed(input);
    while let Ok(Some(entry)) = names.next_entry() {
        assert!(!entry.name.is_empty() && entry.port != 0);
    }

    let mut reader = Reader::default();
    for piece in input.chunks(7) {
        reader.feed(piece);
        match reader.challenge() {
            Ok(Some(challenge)) => {
                assert_eq!(challenge.name.matches('@').count(), 1);
                assert!(!challenge.name.chars().any(char::is_control));
                break;
            }
            Ok(None) => {}
            Err(_) => break,
        }
    }
});

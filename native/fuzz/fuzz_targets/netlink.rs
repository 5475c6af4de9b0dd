//! The kernel's answers, whatever they are.
#![no_main]

use k8s_connect_netlink::message::{attributes, replies};
use libfuzzer_sys::fuzz_target;

fn walk(bytes: &[u8], depth: usize) {
    for (_kind, value) in attributes(bytes) {
        assert!(value.len() + 4 <= bytes.len());
        if depth > 0 {
            walk(value, depth - 1);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    for reply in replies(input) {
        assert!(reply.body.len() + 16 <= input.len());
        walk(reply.body, 3);
    }
});

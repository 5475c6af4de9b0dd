//! The kernel's answers, whatever they are.
#![no_main]

use k8s_connect_sock_diag::read_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = read_answer(input);
});

//! Any answer from the kernel: no panic.
#![no_main]

use k8s_connect_sock_diag::read_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = read_answer(input);
});

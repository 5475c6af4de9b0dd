//! Any input of the privileged helper. An accepted redirect must have an address that a pod can
//! have, and unprivileged ports. This checks the policy against an independent implementation.
#![no_main]

use std::net::IpAddr;

use helper::policy;
use k8s_connect_wire::{MAX_FRAME, MAX_REDIRECTS, Request, frame_length, request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((header, rest)) = input.split_first_chunk::<4>() else { return };
    let Ok(length) = frame_length(*header) else { return };
    assert!((1..=MAX_FRAME).contains(&length));
    let Ok(Request::Apply { redirects, .. }) = request(&rest[..length.min(rest.len())]) else {
        return;
    };
    if policy::check(&redirects).is_err() {
        return;
    }
    assert!(redirects.len() <= MAX_REDIRECTS);
    for redirect in &redirects {
        assert!(redirect.to.port() >= 1024 && redirect.via >= 1024);
        assert!(policy::arrival(redirect).ip().is_loopback());
        match redirect.to.ip() {
            IpAddr::V4(ip) => {
                let first = ip.octets()[0];
                assert!((1..240).contains(&first) && first != 127 && !(224..240).contains(&first));
                assert!(ip.octets()[..2] != [169, 254]);
            }
            IpAddr::V6(ip) => {
                assert!(ip.segments()[0] & 0xffc0 != 0xfe80 && ip.octets()[0] != 0xff);
                // Neither `::`, nor `::1`, nor an IPv4-mapped address.
                assert!(ip.segments()[..5] != [0; 5] || !matches!(ip.segments()[5], 0 | 0xffff));
            }
        }
    }
});

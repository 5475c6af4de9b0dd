//! Any bytes, split at any position: the decoder does not panic, and the split changes no data.
#![no_main]

use bytes::BytesMut;
use k8s_connect_core::streaming::spdy::{Decoder, Frame};
use libfuzzer_sys::fuzz_target;

/// The bytes of each stream in order, and the result.
fn decode(pieces: &[&[u8]]) -> (Vec<(u32, u8)>, Result<(), String>) {
    let (mut decoder, mut input, mut data) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Frame::Data { stream, bytes, .. })) => {
                    data.extend(bytes.iter().map(|byte| (stream, *byte)));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return (data, Err(error.to_string())),
            }
        }
    }
    (data, Ok(()))
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(decode(&[bytes]), decode(&[first, second]));
});

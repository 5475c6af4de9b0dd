//! Any bytes, split at any position: the decoder does not panic, and the split changes no data.
#![no_main]

use bytes::BytesMut;
use k8s_connect_core::streaming::websocket::{Decoder, Error, Frame};
use libfuzzer_sys::fuzz_target;

/// The bytes of each message in order, the other frames, and the result.
fn decode(pieces: &[&[u8]]) -> (Vec<(usize, u8)>, Vec<Frame>, Result<(), Error>) {
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    let (mut messages, mut data, mut others) = (0, Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Frame::Data { bytes, first })) => {
                    messages += usize::from(first);
                    data.extend(bytes.iter().map(|byte| (messages, *byte)));
                }
                Ok(Some(other)) => others.push(other),
                Ok(None) => break,
                Err(error) => return (data, others, Err(error)),
            }
        }
    }
    (data, others, Ok(()))
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(decode(&[bytes]), decode(&[first, second]));
});

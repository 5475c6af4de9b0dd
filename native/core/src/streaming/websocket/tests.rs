#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::*;

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ ..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// Messages, and the control frames in their order of arrival.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: Vec<Vec<u8>>,
    controls: Vec<Frame>,
}

/// Joins the pieces of messages: where they are cut is not part of their meaning.
fn decode(pieces: &[&[u8]]) -> Result<Seen, Error> {
    let (mut decoder, mut input, mut seen) = (Decoder::default(), BytesMut::new(), Seen::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.next(&mut input)? {
            match frame {
                Frame::Data { bytes, first: true } => seen.messages.push(bytes.to_vec()),
                Frame::Data { bytes, first: false } => {
                    seen.messages.last_mut().unwrap().extend(bytes);
                }
                control => seen.controls.push(control),
            }
        }
    }
    Ok(seen)
}

fn junk(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7) as u8).collect()
}

#[test]
fn what_comes_is_understood_however_it_is_cut() {
    let bytes = [
        frame(0x82, b"whole"),
        frame(0x82, b""),
        frame(0x89, b"ping"),
        frame(0x02, b""),
        frame(0x00, b"in "),
        frame(0x8a, b""),
        frame(0x00, b"three "),
        frame(0x80, b"pieces"),
        frame(0x82, &junk(300)),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = Seen {
        messages: vec![b"whole".to_vec(), b"in three pieces".to_vec(), junk(300)],
        controls: vec![
            Frame::Ping(Bytes::from_static(b"ping")),
            Frame::Pong,
            Frame::Close("1000 bye".into()),
        ],
    };
    for a in 0..=bytes.len() {
        for b in a..=bytes.len() {
            assert_eq!(decode(&[&bytes[..a], &bytes[a..b], &bytes[b..]]).unwrap(), expected);
        }
    }
}

#[test]
fn what_is_sent_is_masked_and_can_be_read_back() {
    for length in [0, 1, 3, 15, 16, 17, 125, 126, 127, 0xffff, 0x1_0000, 100_001] {
        let payload = junk(length);
        let (a, b) = payload.split_at(length / 3);
        let mut out = BytesMut::new();
        put_with(&mut out, Kind::Binary, &[a, b], [1, 2, 3, 4]);
        assert_eq!(out[0], 0x82);
        assert_eq!(out[1] & MASK, MASK);
        // As the server does it: the key out, the mask bit off, the payload unmasked byte by byte.
        let size = out.len() - length;
        let key = out[size - 4..size].to_vec();
        assert_eq!(key, [1, 2, 3, 4]);
        let mut plain = out[..size - 4].to_vec();
        plain[1] &= !MASK;
        plain.extend(out[size..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        assert_eq!(plain, frame(0x82, &payload));
    }
}

#[test]
fn a_message_is_handed_out_before_it_is_whole() {
    let mut input = BytesMut::from(&b"\x82\x05ab"[..]);
    let mut decoder = Decoder::default();
    let data = |bytes: &'static [u8], first| Some(Frame::Data { bytes: bytes.into(), first });
    assert_eq!(decoder.next(&mut input).unwrap(), data(b"ab", true));
    assert_eq!(decoder.next(&mut input).unwrap(), None);
    input.extend_from_slice(b"cde");
    assert_eq!(decoder.next(&mut input).unwrap(), data(b"cde", false));
    // A frame that claims to be endless holds nothing.
    input.extend_from_slice(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffx");
    assert_eq!(decoder.next(&mut input).unwrap(), data(b"x", true));
    assert_eq!(decoder.next(&mut input).unwrap(), None);
}

#[test]
fn a_broken_peer_is_told_apart() {
    let refused = |bytes: &[u8]| decode(&[bytes]).unwrap_err();
    assert_eq!(refused(b"\x82\x80"), Error::Masked);
    assert_eq!(refused(b"\xc2\x00"), Error::Kind(0xc2)); // compressed, which was not agreed on
    assert_eq!(refused(b"\x81\x00"), Error::Kind(1)); // text
    assert_eq!(refused(b"\x80\x00"), Error::Kind(0)); // goes on with nothing
    assert_eq!(refused(b"\x02\x00\x82\x00"), Error::Kind(2)); // a message in a message
    assert_eq!(refused(b"\x83\x00"), Error::Kind(3));
    assert_eq!(refused(b"\x8b\x00"), Error::Kind(11));
    assert_eq!(refused(b"\x09\x00"), Error::Control(0)); // a ping in pieces
    assert_eq!(refused(b"\x89\x7e\x01\x00"), Error::Control(256));
    assert_eq!(refused(b"HTTP/1.1"), Error::Kind(b'H'));
}

#[test]
fn junk_never_panics() {
    let mut number = 1_u64;
    let mut next = |below: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let mut bytes = [frame(0x02, &junk(next(200))), frame(0x80, &junk(next(200)))].concat();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        let cut = next(bytes.len());
        assert_eq!(decode(&[&bytes]), decode(&[&bytes[..cut], &bytes[cut..]]));
    }
}

/// RFC 6455, 1.3.
#[test]
fn the_answer_to_a_key_is_that_of_the_rfc() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(key().len(), 24);
    assert_ne!(key(), key());
}

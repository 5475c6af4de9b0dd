#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::*;

/// Numbers from a seed: the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % below
    }
}

/// Joins neighbouring pieces of a stream: where data is cut is not part of its meaning.
fn decode(pieces: &[&[u8]]) -> Result<Vec<Frame>, Error> {
    let (mut decoder, mut input, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.next(&mut input)? {
            match (frames.last_mut(), frame) {
                (
                    Some(Frame::Data { stream, bytes, fin: fin @ false }),
                    Frame::Data { stream: same, bytes: more, fin: last },
                ) if *stream == same => {
                    *bytes = [bytes.as_ref(), more.as_ref()].concat().into();
                    *fin = last;
                }
                (_, frame) => frames.push(frame),
            }
        }
    }
    Ok(frames)
}

fn reply(stream: u32, fin: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_control(&mut out, SYN_REPLY, u8::from(fin), 4 + 3);
    out.put_u32(stream);
    out.put_slice(b"zip");
    out.to_vec()
}

/// Frames that a server could send, and their bytes.
fn random_frames(numbers: &mut Numbers) -> (Vec<Frame>, Vec<u8>) {
    let (mut frames, mut out) = (Vec::new(), BytesMut::new());
    for _ in 0..=numbers.next(8) {
        // Neighbours of one stream would be joined.
        let stream = frames.len() as u32 * 2 + 1;
        match numbers.next(5) {
            0 => {
                let length = numbers.next(300);
                let bytes: Bytes = (0..length).map(|i| i as u8).collect::<Vec<_>>().into();
                let fin = numbers.next(2) == 0;
                put_data_header(&mut out, stream, fin, length);
                out.put_slice(&bytes);
                frames.push(Frame::Data { stream, bytes, fin });
            }
            1 => {
                let fin = numbers.next(2) == 0;
                out.put_slice(&reply(stream, fin));
                frames.push(Frame::Reply { stream, fin });
            }
            2 => {
                put_reset(&mut out, stream);
                frames.push(Frame::Reset { stream, status: CANCEL });
            }
            3 => {
                put_ping(&mut out, stream);
                frames.push(Frame::Ping { id: stream });
            }
            _ => {
                put_control(&mut out, 4, 0, 2); // SETTINGS, which mean nothing here
                out.put_slice(b"ab");
                frames.push(Frame::Ignored);
            }
        }
    }
    (frames, out.to_vec())
}

#[test]
fn what_is_encoded_is_decoded_however_it_is_cut() {
    let mut numbers = Numbers(1);
    for _ in 0..500 {
        let (frames, bytes) = random_frames(&mut numbers);
        let (a, b) = (numbers.next(bytes.len() + 1), numbers.next(bytes.len() + 1));
        let (a, b) = (a.min(b), a.max(b));
        assert_eq!(decode(&[&bytes[..a], &bytes[a..b], &bytes[b..]]).unwrap(), frames);
    }
}

#[test]
fn junk_never_panics_and_never_waits_for_gigabytes() {
    let mut numbers = Numbers(2);
    for _ in 0..5_000 {
        let (_, mut bytes) = random_frames(&mut numbers);
        for _ in 0..=numbers.next(4) {
            let at = numbers.next(bytes.len());
            bytes[at] = numbers.next(256) as u8;
        }
        let _ = decode(&[&bytes]);
    }
}

#[test]
fn data_is_handed_out_before_its_frame_is_whole() {
    let mut input = BytesMut::from(&b"\0\0\0\x03\x01\0\0\x05ab"[..]);
    let mut decoder = Decoder::default();
    let data = |bytes: &'static [u8], fin| Frame::Data { stream: 3, bytes: bytes.into(), fin };
    assert_eq!(decoder.next(&mut input).unwrap(), Some(data(b"ab", false)));
    assert_eq!(decoder.next(&mut input).unwrap(), None);
    input.extend_from_slice(b"cde");
    assert_eq!(decoder.next(&mut input).unwrap(), Some(data(b"cde", true)));
}

#[test]
fn a_broken_peer_is_told_apart() {
    assert_eq!(decode(&[b"\x80\x02\0\x01\0\0\0\0"]), Err(Error::Version(0x8002)));
    assert_eq!(decode(&[b"\x80\x03\0\x01\0\xff\xff\xff"]), Err(Error::TooLong(0xff_ffff)));
    assert_eq!(
        decode(&[b"\x80\x03\0\x06\0\0\0\x03abc"]),
        Err(Error::TooShort { kind: PING, length: 3 })
    );
}

/// The bytes that a real server was seen to take: zlib's header once, a stored block, Go's mark.
#[test]
fn headers_are_stored_blocks_of_one_zlib_stream() {
    let mut encoder = Encoder::default();
    let mut out = BytesMut::new();
    encoder.open(&mut out, 1, true, &[("port", "4369")]);
    let plain = b"\0\0\0\x01\0\0\0\x04port\0\0\0\x044369";
    let block = [&b"\x78\x01\0\x14\0\xeb\xff"[..], plain, b"\0\0\0\xff\xff"].concat();
    assert_eq!(&out[..8], [0x80, 3, 0, 1, FLAG_FIN, 0, 0, 10 + block.len() as u8]);
    assert_eq!(&out[8..18], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&out[18..], &block);

    out.clear();
    encoder.open(&mut out, 3, false, &[("port", "4369")]);
    assert_eq!(out[4], 0);
    assert_eq!(&out[18..], &block[2..]);
}

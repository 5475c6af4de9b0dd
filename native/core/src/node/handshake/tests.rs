#![allow(clippy::unwrap_used)]

use super::*;

fn message(body: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

fn challenge(flags: u64, name: &[u8]) -> Vec<u8> {
    let mut body = vec![b'N'];
    body.extend(flags.to_be_bytes());
    body.extend(0xdead_beef_u32.to_be_bytes());
    body.extend(7_u32.to_be_bytes());
    body.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    body.extend_from_slice(name);
    message(&body)
}

fn read(pieces: &[&[u8]]) -> Result<Option<Challenge>, Error> {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
        if let Some(challenge) = reader.challenge()? {
            return Ok(Some(challenge));
        }
    }
    Ok(None)
}

#[test]
fn sent_lengths_and_flags_are_right() {
    for sent in [send_name(), send_name_of("me@127.0.0.1")] {
        assert_eq!(usize::from(u16::from_be_bytes([sent[0], sent[1]])), sent.len() - 2);
        assert_eq!(usize::from(u16::from_be_bytes([sent[15], sent[16]])), sent.len() - 17);
    }
    let old = send_name_of_otp_22();
    assert_eq!(usize::from(u16::from_be_bytes([old[0], old[1]])), old.len() - 2);
    assert_eq!(FLAGS & 1, 0, "published");
    assert_eq!(u64::from(FLAGS_OF_OTP_22), FLAGS & 0xff_ffff);
}

#[test]
fn reads_status_and_challenge_however_they_are_split() {
    let mut whole = message(b"snamed:\x00\x01a\x00\x00\x00\x01");
    whole.extend(challenge(HANDSHAKE_23, b"app@10.244.1.2"));
    let expected = Challenge { name: "app@10.244.1.2".into(), flags: HANDSHAKE_23, creation: 7 };
    for cut in 0..whole.len() {
        assert_eq!(read(&[&whole[..cut], &whole[cut..]]).unwrap(), Some(expected.clone()), "{cut}");
    }
    assert_eq!(read(&[&whole[..whole.len() - 1]]).unwrap(), None);
}

#[test]
fn rejections() {
    let result = read(&[&message(b"snot_allowed")]);
    assert!(matches!(result, Err(Error::Rejected { status }) if status == "not_allowed"));
    let ok = message(b"sok");
    let old = message(b"n\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00a@b");
    assert!(matches!(read(&[&ok, &old]), Err(Error::UnsupportedOtp)));
    assert!(matches!(read(&[&ok, &challenge(0, b"a@b")]), Err(Error::UnsupportedOtp)));
}

#[test]
fn an_answer_that_is_not_of_a_node_fails_at_once() {
    for seen in
        [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x0a", b"\x00\x02xx"]
    {
        assert!(
            matches!(read(&[seen]), Err(Error::InvalidHandshake { expected: "a status", .. })),
            "{seen:?}"
        );
    }
    let ok = message(b"sok");
    for seen in [&b""[..], b"N", b"x123456789012345678901", b"N12345678123412341234\xff\xffa"] {
        let result = read(&[&ok, &message(seen)]);
        assert!(
            matches!(result, Err(Error::InvalidHandshake { expected: "a challenge", .. })),
            "{seen:?}"
        );
    }
}

#[test]
fn a_tls_alert_is_recognized_however_it_is_split() {
    let speaks = |bytes: &[u8]| {
        let mut reader = Reader::default();
        reader.feed(bytes);
        reader.speaks_tls()
    };
    let alert = b"\x15\x03\x03\x00\x02\x02\x0a";
    assert!((3..=7).all(|end| speaks(&alert[..end])));
    assert!((0..3).all(|end| !speaks(&alert[..end])));
    assert!(!speaks(&message(b"sok")));
    assert!(!speaks(b"\x15\x03s"));
}

#[test]
fn only_valid_names_are_accepted() {
    let ok = message(b"sok");
    let long = [b"a@".as_slice(), &[b'h'; 300]].concat();
    for name in [&b"app"[..], b"@h", b"a@", b"a@b@c", b"a b@c", b"a@b\x1b[2J", b"\xff@h", &long] {
        let result = read(&[&ok, &challenge(HANDSHAKE_23, name)]);
        assert!(matches!(result, Err(Error::InvalidName { .. })), "{name:?}");
    }
    for name in ["app@10.244.1.2", "app-1_x@app-0.app.default.svc.cluster.local", "bücher@host"] {
        assert!(read(&[&ok, &challenge(HANDSHAKE_23, name.as_bytes())]).unwrap().is_some());
    }
}

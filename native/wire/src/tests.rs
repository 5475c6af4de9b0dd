#![allow(clippy::unwrap_used)]

use super::*;

fn longest() -> Redirect {
    let to = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
    Redirect { to, via: 65535 }
}

#[test]
fn messages_round_trip() {
    let to = "10.244.1.8:4369".parse().unwrap();
    for sent in [
        Request::Hello { major: 2, minor: 0, pid: 77 },
        Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }, longest()] },
        Request::Status { id: u64::MAX },
        Request::Stop { id: 0 },
    ] {
        assert_eq!(request(&encode(&sent)).unwrap(), sent);
    }
    for sent in [
        Answer::Refused { id: None, refusal: Refusal::DuplicateRedirect { to } },
        Answer::Refused {
            id: Some(3),
            refusal: Refusal::NoCapability { cause: Missing::BoundingSet },
        },
        Answer::Applied { id: 1, redirects: 2 },
    ] {
        assert_eq!(answer(&encode(&sent)).unwrap(), sent);
    }
}

// The library must stay compatible with installed helpers, so the encoding must not change.
#[test]
fn the_encoding_does_not_change() {
    let to = "10.244.1.8:4369".parse().unwrap();
    let sent = Request::Apply { id: 1, redirects: vec![Redirect { to, via: 40001 }] };
    let text = r#"{"apply":{"id":1,"redirects":[{"to":"10.244.1.8:4369","via":40001}]}}"#;
    assert_eq!(encode(&sent), text.as_bytes());
    let hello = br#"{"hello":{"major":1,"minor":9,"pid":5,"new_field":true}}"#;
    assert_eq!(request(hello).unwrap(), Request::Hello { major: 1, minor: 9, pid: 5 });
    let refused = Answer::Refused { id: None, refusal: Refusal::NoCgroup2 };
    assert_eq!(encode(&refused), br#"{"refused":{"id":null,"refusal":"no_cgroup2"}}"#);
}

#[test]
fn the_longest_request_fits() {
    let redirects = vec![longest(); MAX_REDIRECTS];
    assert!(encode(&Request::Apply { id: u64::MAX, redirects }).len() <= MAX_FRAME);
}

#[test]
fn invalid_requests_are_refused() {
    for bad in [
        "",
        "null",
        "{}",
        "[]",
        "{\"apply\":{}}",
        "{\"apply\":{\"id\":-1,\"redirects\":[]}}",
        "{\"exec\":{\"id\":1}}",
        "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"x\",\"via\":1}]}}",
        "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"1.2.3.4:5\",\"via\":99999}]}}",
        "{\"apply\":{\"id\":1,\"redirects\":[{\"to\":\"1.2.3.4:5\",\"via\":9,\"uid\":0}]}}",
    ] {
        assert!(matches!(request(bad.as_bytes()), Err(Refusal::Malformed { .. })), "{bad}");
    }
    assert_eq!(frame_length([0; 4]), Err(Refusal::Empty));
    assert_eq!(frame_length([0, 2, 0, 0]).unwrap(), MAX_FRAME);
    assert_eq!(frame_length([0, 2, 0, 1]), Err(Refusal::TooLong { length: 131_073 }));
}

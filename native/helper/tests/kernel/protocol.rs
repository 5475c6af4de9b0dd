//! Invalid frames: each is answered with a refusal or ends the helper, and changes nothing.

use std::{env, io::Write, thread};

use serde_json::{Value, json};

use crate::{
    cases::Case,
    client::{connect_as_user, is_redirected},
    environment::{Environment, POD4, POD6, RunAs, SESSION, VIA},
    helper::{Helper, path, word},
};

/// A PID above the kernel's limit.
const NO_SUCH_PID: u32 = 4_194_305;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("protocol: bad frames are answered and change nothing", bad_frames),
        Case::new("protocol: a second hello", |environment| {
            let mut helper = Helper::start(environment);
            helper.greet();
            assert_eq!(refused(&helper.read().expect("it lives")), "second_hello");
            assert!(is_redirected(&connect_as_user(environment, POD4)));
            helper.stop();
        }),
        Case::new("protocol: a refused set leaves the old one", |environment| {
            let mut helper = Helper::start(environment);
            for (to, via, expected) in REFUSED {
                let refusal = helper.apply(&[(POD6, VIA), (to, via)]).expect_err(to);
                assert_eq!(word(&refusal).0, expected, "{to}");
            }
            assert!(is_redirected(&connect_as_user(environment, POD4)));
            helper.stop();
        }),
        Case::new("protocol: as many redirects as fit, and one more", full),
        Case::new("protocol: a library that does not read still ends it", deaf),
    ];
    for (name, first, expected) in [
        ("another version", json!({"hello": {"major": 1, "minor": 0, "pid": 1}}), "wrong_version"),
        ("no hello", json!({"status": {"id": 1}}), "no_hello"),
        ("nonsense", json!("hello"), "malformed"),
        (
            "nobody",
            json!({"hello": {"major": 2, "minor": 0, "pid": NO_SUCH_PID}}),
            "no_such_process",
        ),
        ("pid 0", json!({"hello": {"major": 2, "minor": 0, "pid": 0}}), "no_such_process"),
    ] {
        cases.push(Case::new(
            &format!("protocol: {name} as the first frame"),
            move |environment| {
                let run_as = RunAs::user().within(SESSION);
                let mut helper = Helper::spawn(
                    environment,
                    &mut environment.command(&run_as, &path(environment)),
                );
                assert!(helper.read().expect("it starts").get("ready").is_some());
                helper.say(&first);
                assert_eq!(refused(&helper.read().expect("an answer")), expected);
                helper.process.wait();
            },
        ));
    }
    cases
}

/// Each is sent together with a valid redirect.
const REFUSED: [(&str, u16, &str); 6] = [
    ("10.9.0.1:5555", VIA, "bad_destination"), // the laptop's own address
    ("127.0.0.1:5555", VIA, "bad_destination"),
    ("[fe80::1]:5555", VIA, "bad_destination"),
    ("10.9.0.2:22", VIA, "low_port"),
    (POD6, VIA, "duplicate_redirect"),
    ("10.9.0.2:5555", 1, "low_port"),
];

fn refused(answer: &Value) -> String {
    let refused = answer.get("refused").unwrap_or_else(|| panic!("not refused: {answer}"));
    word(&refused["refusal"]).0
}

fn full(environment: &Environment) {
    let mut helper = Helper::start(environment);
    let many: Vec<_> = (0..1025).map(|n| format!("10.9.0.2:{}", 2000 + n)).collect();
    let set: Vec<_> = many.iter().map(|to| (to.as_str(), VIA)).collect();
    let refusal = helper.apply(&set).expect_err("one too many");
    assert_eq!(word(&refusal).0, "too_many_redirects");
    // The complete table can be replaced by another one.
    helper.apply(&set[..1024]).expect("the table is as large");
    assert!(is_redirected(&connect_as_user(environment, "10.9.0.2:3023")));
    helper.apply(&set[1..]).expect("room is made first");
    assert!(is_redirected(&connect_as_user(environment, "10.9.0.2:3024")));
    helper.apply(&[]).expect("nothing is a set");
    helper.stop();
}

/// The answers fill the pipe. The helper must still detect the end of the BEAM.
fn deaf(environment: &Environment) {
    let mut helper = Helper::start(environment);
    let mut stdin = helper.process.stdin().try_clone().expect("a socket");
    stdin.set_nonblocking(true).expect("a socket");
    let frame = frame(br#"{"status":{"id":1}}"#);
    while stdin.write_all(&frame).is_ok() {}
    let victim = helper.process.pid();
    let parent = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(victim),
        nix::sys::signal::Signal::SIGTERM,
    );
    parent.expect("running as root");
    assert_eq!(helper.process.wait().code(), Some(0));
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}

/// Sends `K8S_CONNECT_BAD_FRAMES` frames. Each must be answered with a refusal.
fn bad_frames(environment: &Environment) {
    let count: u64 = env::var("K8S_CONNECT_BAD_FRAMES")
        .map_or(100_000, |count| count.parse().expect("a number"));
    let mut helper = Helper::start(environment);
    let mut stdin = helper.process.stdin().try_clone().expect("a socket");
    let writer = thread::spawn(move || {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..count {
            stdin.write_all(&frame(&random.bad_body())).expect("it reads");
        }
    });
    for number in 0..count {
        let answer = helper.read().unwrap_or_else(|| panic!("it ended at {number}"));
        assert!(answer.get("refused").is_some(), "{number}: {answer}");
    }
    writer.join().expect("all were sent");
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    helper.stop();
}

/// xorshift64 with a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below the limit")
    }

    fn bad_body(&mut self) -> Vec<u8> {
        const BAD: [&str; 12] = [
            "127.0.0.1:5555",
            "0.0.0.0:5555",
            "10.9.0.1:5555",
            "224.1.1.1:5555",
            "10.9.0.2:22",
            "255.255.255.255:4369",
            "169.254.169.254:5555",
            "[::1]:5555",
            "[fe80::1]:5555",
            "[::ffff:10.9.0.2]:5555",
            "[fd09::2]:80",
            "240.9.9.9:5555",
        ];
        let apply = |to: &str, via: usize| {
            format!(r#"{{"apply":{{"id":1,"redirects":[{{"to":"{to}","via":{via}}}]}}}}"#)
                .into_bytes()
        };
        match self.next() % 5 {
            0 => (0..self.below(200)).map(|_| self.next().to_be_bytes()[0]).collect(),
            // An invalid destination or port.
            1 => apply(BAD[self.below(BAD.len())], VIA.into()),
            2 => apply("10.9.0.2:5555", self.below(1024)),
            // A truncated request.
            3 => {
                let mut bytes = apply("10.9.0.2:5555", VIA.into());
                let at = self.below(bytes.len());
                bytes.truncate(at);
                bytes
            }
            // Nested too deeply.
            _ => vec![b'['; self.below(4096)],
        }
    }
}

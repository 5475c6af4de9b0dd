//! The cookie of this VM in place of that of the node.
//!
//! Distribution has one cookie for each name of a node, whichever machine that name leads to. If it were the cookie of the
//! node in the pod, another process of this VM could connect to the name before, past every endpoint, and the machine that
//! answers there could have been chosen by the pod, which knows its own cookie. So the VM has a secret of its own for the
//! name, and the endpoint replaces the two digests of the handshake.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use md5::{Digest as _, Md5};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

/// MD5 of a cookie and a challenge in decimal digits:
/// <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake>
pub(super) type Digest = [u8; 16];

/// 16 random bytes in hexadecimal digits; `None` if the operating system has none.
#[must_use]
pub fn secret() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The cookie that this VM has for the name of a node; `None` if the operating system has no random numbers. Each name has
/// another one: otherwise a machine could have this VM answer its challenge at one name, and use the answer at another.
/// It stays the same while the VM runs, because the atom table never forgets one.
#[must_use]
pub fn local(node: &str) -> Option<String> {
    static KEY: OnceLock<Option<String>> = OnceLock::new();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.get_or_init(secret).as_deref()?.as_bytes());
    let cookie = hmac::sign(&key, node.as_bytes());
    Some(format!("{:032x}", u128::from_be_bytes(*cookie.as_ref().first_chunk()?)))
}

/// The cookie of the node in the pod, and that which this VM has instead.
#[derive(Clone)]
pub struct Cookies {
    node: Arc<[u8]>,
    local: Arc<[u8]>,
}

impl Cookies {
    /// `node`: the cookie of the node in the pod.
    #[must_use]
    pub fn new(node: &[u8], local: &str) -> Self {
        Self { node: characters(node).into(), local: local.as_bytes().into() }
    }

    /// For a new connection.
    pub(crate) fn exchange(&self) -> Arc<Exchange> {
        Arc::new(Exchange { cookies: self.clone(), challenges: Mutex::default() })
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies")
    }
}

/// What both directions of a connection know of its handshake.
#[derive(Debug)]
pub(crate) struct Exchange {
    cookies: Cookies,
    challenges: Mutex<Challenges>,
}

#[derive(Debug, Default)]
struct Challenges {
    of_pod: Option<u32>,
    /// If the answer was replaced.
    of_local: Option<u32>,
}

impl Exchange {
    /// The pod has sent its challenge.
    pub(super) fn challenged(&self, challenge: u32) {
        self.challenges().of_pod = Some(challenge);
    }

    /// The answer to the pod, which comes with a challenge of the local node. That of a wrong cookie stays wrong.
    pub(super) fn reply(&self, challenge: u32, digest: Digest) -> Digest {
        let mut challenges = self.challenges();
        match challenges.of_pod {
            Some(of_pod) if digest == digest_of(&self.cookies.local, of_pod) => {
                challenges.of_local = Some(challenge);
                digest_of(&self.cookies.node, of_pod)
            }
            _ => digest,
        }
    }

    /// The pod's answer.
    pub(super) fn acknowledge(&self, digest: Digest) -> Digest {
        match self.challenges().of_local {
            Some(challenge) if digest == digest_of(&self.cookies.node, challenge) => {
                digest_of(&self.cookies.local, challenge)
            }
            _ => digest,
        }
    }

    fn challenges(&self) -> std::sync::MutexGuard<'_, Challenges> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of which OTP makes the digest: the characters of an atom, which it reads as UTF-8 if it is that.
fn characters(cookie: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(cookie).ok();
    let latin1 = text.and_then(|text| text.chars().map(|it| u8::try_from(it).ok()).collect());
    latin1.unwrap_or_else(|| cookie.to_vec())
}

fn digest_of(cookie: &[u8], challenge: u32) -> Digest {
    Md5::new().chain_update(cookie).chain_update(challenge.to_string()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: u32 = 3_000_000_000;

    #[test]
    fn a_digest_is_that_of_otp() {
        // erlang:md5(["secret", "3000000000"])
        let expected = 0x8d59_c529_b944_7802_1bf5_7d27_2373_1099_u128;
        assert_eq!(digest_of(b"secret", CHALLENGE), expected.to_be_bytes());
    }

    #[test]
    fn a_cookie_has_the_characters_of_an_atom() {
        assert_eq!(characters(b"plain"), b"plain");
        assert_eq!(characters("\u{e9}".as_bytes()), [0xe9]);
        assert_eq!(characters(&[0xe9]), [0xe9]);
        assert_eq!(characters("\u{20ac}".as_bytes()), "\u{20ac}".as_bytes());
    }

    #[test]
    fn each_side_sees_a_digest_of_the_cookie_that_it_has() {
        let exchange = Cookies::new(b"node", "local").exchange();
        exchange.challenged(CHALLENGE);
        let reply = exchange.reply(7, digest_of(b"local", CHALLENGE));
        assert_eq!(reply, digest_of(b"node", CHALLENGE));
        assert_eq!(exchange.acknowledge(digest_of(b"node", 7)), digest_of(b"local", 7));
    }

    #[test]
    fn a_pod_with_another_cookie_has_no_right_answer() {
        let exchange = Cookies::new(b"node", "local").exchange();
        exchange.challenged(CHALLENGE);
        exchange.reply(7, digest_of(b"local", CHALLENGE));
        for wrong in [digest_of(b"other", 7), digest_of(b"node", 8), [0; 16]] {
            assert_eq!(exchange.acknowledge(wrong), wrong);
        }
    }

    #[test]
    fn what_is_no_digest_of_the_own_cookie_stays() {
        let exchange = Cookies::new(b"node", "local").exchange();
        exchange.challenged(CHALLENGE);
        let reply = digest_of(b"node", CHALLENGE);
        assert_eq!(exchange.reply(7, reply), reply);
        // The local secret never answers a digest of the node's cookie that was not asked for.
        assert_eq!(exchange.acknowledge(digest_of(b"node", 7)), digest_of(b"node", 7));
    }

    #[test]
    fn each_name_has_a_secret_which_stays() {
        assert!(local("a@b").is_some_and(|local| local.len() == 32));
        assert_eq!(local("a@b"), local("a@b"));
        assert_ne!(local("a@b"), local("a@c"));
        assert_ne!(secret(), secret());
        assert_eq!(format!("{:?}", Cookies::new(b"node", "local")), "Cookies");
    }
}

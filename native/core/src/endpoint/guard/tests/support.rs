//! A connection as the tests use it.

use super::super::{encode::*, *};

fn short(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Both directions of a connection whose handshake is over.
pub struct Pair {
    pub session: Arc<Session>,
    pub connection: Connection,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(Limits { atoms: 1000, message: 1_000_000 })
    }

    pub fn with(limits: Limits) -> Self {
        Self::of(Session::new(limits))
    }

    pub fn of(session: Session) -> Self {
        let session = Arc::new(session);
        let connection = Connection::new(session.clone(), false, None);
        let mut pair = Self { session, connection };
        pair.shake();
        pair
    }

    /// The handshake of a new connection.
    pub fn shake(&mut self) {
        let flags = u64::MAX.to_be_bytes();
        let named = |before: &[u8], name: &str| {
            let length = u16::try_from(name.len()).unwrap().to_be_bytes();
            short(&[b"N", &flags, before, &length, name.as_bytes()])
        };
        self.outgoing(&[named(&[0; 4], LAPTOP), short(&[b"r", &[0; 20]])].concat());
        let answer = [short(&[b"sok"]), named(&[0; 8], POD), short(&[b"a", &[0; 16]])].concat();
        self.incoming(&answer).unwrap();
    }

    pub fn outgoing(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        self.connection.to_pod.pass(Bytes::copy_from_slice(bytes), &mut output).unwrap();
        output.concat()
    }

    pub fn incoming(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Closed> {
        let mut output = Vec::new();
        self.connection.from_pod.pass(Bytes::copy_from_slice(bytes), &mut output)?;
        Ok(output.concat())
    }

    pub fn entries(&mut self) -> Vec<Entry> {
        self.connection.to_pod.entries()
    }

    pub fn answers(&mut self) -> Vec<u8> {
        self.connection.to_pod.answers().concat()
    }

    /// Gives a process out: a call of `erpc` with this group leader.
    pub fn call(&mut self, caller: u8, leader: u8) -> Vec<u8> {
        let control = [
            integer(29),
            reference(LAPTOP, caller),
            pid(LAPTOP, caller),
            pid(LAPTOP, leader),
            tuple(&[atom("erpc"), atom("execute_call"), integer(4)]),
            list(&[atom("monitor")]),
        ];
        let call = packed(&control, Some(&list(&[pid(LAPTOP, caller)])));
        assert_eq!(self.outgoing(&call), call);
        call
    }

    /// Whether a message passes unchanged.
    pub fn passes(&mut self, control: &[Vec<u8>], payload: Option<&[u8]>) -> bool {
        let message = packed(control, payload);
        let output = self.incoming(&message).unwrap();
        assert!(output.is_empty() || output == message);
        !output.is_empty()
    }
}

pub(super) fn send(to: Vec<u8>) -> [Vec<u8>; 3] {
    [integer(22), pid(POD, 9), to]
}

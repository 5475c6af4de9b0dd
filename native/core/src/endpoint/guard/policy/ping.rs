//! Messages to registered names. Only `net_adm:ping` has an answer.

use super::{
    super::{
        control::Control,
        encode::{atom, tuple},
        refusal::Kind,
        term::{Token, VERSION, item, term},
    },
    Verdict, message_to, refuse,
};

/// The only name that has an answer is `net_kernel`, and only for `net_adm:ping`.
pub(super) fn send_to_name(control: &Control) -> Verdict {
    let Some(Token::Atom(name)) = control.token(3) else { return refuse(Kind::Name, "") };
    let ping = name.is("net_kernel").then(|| ping(control.payload.unwrap_or_default())).flatten();
    match ping {
        Some((from, tag)) => {
            let reply = tuple(&[tag.to_vec(), atom("yes")]);
            Verdict::Answer(message_to(from, &reply), None)
        }
        None => refuse(Kind::Name, &name.text()),
    }
}

/// `{'$gen_call', {From, Tag}, {is_auth, Node}}`
fn ping(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = open(payload.strip_prefix(&[VERSION])?, 3)?;
    let rest = atom_then(rest, "$gen_call")?;
    let caller = open(rest, 2)?;
    let from = term(caller).ok()?;
    let tag = term(&caller[from.len()..]).ok()?;
    let request = open(&caller[from.len() + tag.len()..], 2)?;
    atom_then(request, "is_auth")?;
    matches!(item(from).ok()?.token, Token::Pid(_)).then_some((from, tag))
}

fn open(bytes: &[u8], arity: u32) -> Option<&[u8]> {
    let tuple = item(bytes).ok()?;
    (tuple.token == Token::Tuple(arity)).then(|| &bytes[tuple.size..])
}

fn atom_then<'a>(bytes: &'a [u8], text: &str) -> Option<&'a [u8]> {
    let first = item(bytes).ok()?;
    matches!(first.token, Token::Atom(atom) if atom.is(text)).then(|| &bytes[first.size..])
}

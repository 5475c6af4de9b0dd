//! PEM as Go reads it: text around the blocks does not matter, and a broken block is skipped. The parser
//! of rustls refuses the whole file then.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// What is between `-----BEGIN` and `-----END`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub label: String,
    /// Whether there are headers before the contents, as in an encrypted key.
    pub has_headers: bool,
    pub contents: Vec<u8>,
}

/// The certificates of a bundle, each DER. Blocks with headers are none.
pub(crate) fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    let certificates = blocks(pem).into_iter();
    let certificates =
        certificates.filter(|block| block.label == "CERTIFICATE" && !block.has_headers);
    certificates.map(|block| block.contents).collect()
}

/// All blocks that are complete.
pub(super) fn blocks(pem: &[u8]) -> Vec<Block> {
    let (mut blocks, mut rest) = (Vec::new(), pem);
    // A block is from the last BEGIN before the next END, so a BEGIN without an END is skipped.
    while let Some(end) = find(rest, END) {
        let after = &rest[end + END.len()..];
        rest = match begin(&rest[..end]).and_then(|begin| block(&rest[begin..end], after)) {
            Some((block, left)) => {
                blocks.push(block);
                left
            }
            None => after,
        };
    }
    blocks
}

/// Where the contents of the last line that begins a block are, in text without the END.
fn begin(text: &[u8]) -> Option<usize> {
    let at = text.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    (at == 0 || text[at - 1] == b'\n').then_some(at + BEGIN.len())
}

/// A block from after its BEGIN to before its END, and what is after its END.
fn block<'a>(text: &[u8], after: &'a [u8]) -> Option<(Block, &'a [u8])> {
    let (label, mut body) = line(text);
    let label = label.strip_suffix(DASHES)?;
    let mut has_headers = false;
    loop {
        let (header, rest) = line(body);
        if !header.contains(&b':') {
            break;
        }
        has_headers = true;
        body = rest;
    }
    let (end, left) = line(after);
    if end.strip_suffix(DASHES) != Some(label) {
        return None;
    }
    let digits: Vec<u8> = body.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
    let contents = BASE64.decode(digits).ok()?;
    Some((Block { label: String::from_utf8(label.into()).ok()?, has_headers, contents }, left))
}

/// The first line without the white space at its end, and the rest.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[][..]),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let end = line.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
    (&line[..end], rest)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pem: &str) -> Vec<(String, Vec<u8>)> {
        blocks(pem.as_bytes()).into_iter().map(|block| (block.label, block.contents)).collect()
    }

    #[test]
    fn text_around_blocks() {
        let pem = "subject: x\n-----BEGIN A-----\nAQID\n-----END A-----\nmore\r\n-----BEGIN B C-----\r\n\
                   AQ\tI \r\nD\r\n-----END B C-----  \r\nlast";
        assert_eq!(found(pem), [("A".into(), vec![1, 2, 3]), ("B C".into(), vec![1, 2, 3])]);
        assert_eq!(found("-----BEGIN A-----\n-----END A-----"), [("A".into(), vec![])]);
    }

    #[test]
    fn broken_blocks_are_skipped() {
        let good = "-----BEGIN A-----\nAQID\n-----END A-----\n";
        for bad in [
            "-----BEGIN A-----\nAQ!D\n-----END A-----\n",
            "-----BEGIN A-----\nAQI\n-----END A-----\n",
            "-----BEGIN A-----\nAQID\n-----END B-----\n",
            "-----BEGIN A-----\nAQID\n-----END A----- x\n",
            "-----BEGIN A-----\nAQID\n",
            "-----BEGIN A\nAQID\n-----END A-----\n",
            " -----BEGIN A-----\nAQID\n-----END A-----\n",
            "-----END A-----\n",
        ] {
            let one = [("A".to_owned(), vec![1, 2, 3])];
            assert_eq!(found(&format!("{bad}{good}")), one, "{bad}");
            assert_eq!(found(&format!("{good}{bad}")), one, "{bad}");
        }
    }

    #[test]
    fn certificates_have_no_headers() {
        let pem = "-----BEGIN CERTIFICATE-----\nProc-Type: 4\n\nAQID\n-----END CERTIFICATE-----\n\
                   -----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n\
                   -----BEGIN TRUSTED CERTIFICATE-----\nAQ==\n-----END TRUSTED CERTIFICATE-----\n";
        assert_eq!(certificates(pem.as_bytes()), [[1]]);
    }
}

//! Text from outside, made fit for messages.

/// The text without control characters, which could steer a terminal, and with at most `max`
/// characters.
pub(crate) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(max).collect()
}

/// The same of bytes that may be no UTF-8.
pub(crate) fn printable_bytes(bytes: &[u8], max: usize) -> String {
    // A character has at most four bytes.
    let bytes = &bytes[..bytes.len().min(4 * max)];
    printable(&String::from_utf8_lossy(bytes), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_removed_and_long_texts_cut() {
        assert_eq!(printable("\x1b[2Jno\x07\n", 100), "[2Jno");
        assert_eq!(printable("äöü", 2), "äö");
        assert_eq!(printable_bytes(b"a\xffb\0", 9), "a\u{fffd}b");
        assert_eq!(printable_bytes(&[b'x'; 1000], 3), "xxx");
    }
}

//! Text from outside, made fit for messages.

/// The text without control characters, which could steer a terminal, and with at most `max`
/// characters.
pub(crate) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|letter| is_visible(*letter)).take(max).collect()
}

/// Neither a control character nor one that changes the direction or the shape of the text around it.
fn is_visible(letter: char) -> bool {
    let format = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    !letter.is_control()
        && letter != '\u{feff}'
        && !format.iter().any(|range| range.contains(&letter))
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
        assert_eq!(printable("a\u{202e}b\u{200b}c\u{2066}d\u{feff}", 9), "abcd");
        assert_eq!(printable_bytes(b"a\xffb\0", 9), "a\u{fffd}b");
        assert_eq!(printable_bytes(&[b'x'; 1000], 3), "xxx");
    }
}

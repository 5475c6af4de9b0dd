#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};

use super::*;

fn json_of(text: &str) -> Result<Json, String> {
    parse(text.as_bytes()).map(|node| node.json()).map_err(|invalid| invalid.to_string())
}

#[test]
fn scalars_have_the_types_of_yaml_1_1() {
    let cases = [
        ("[yes, No, on, ~, null, '']", json!([true, false, true, null, null, ""])),
        ("[0x10, 010, 0b11, 1_000, 08, 1e3]", json!([16, 8, 3, 1000, 8.0, 1000.0])),
        ("['1', \"2\", !!str 3, ! '4']", json!(["1", "2", "3", 4])),
        ("[2020-01-02, 1.2.3, 10.0.0.1, +a]", json!(["2020-01-02", "1.2.3", "10.0.0.1", "+a"])),
        ("[!!binary aGk=, !mine x, !!float 1]", json!(["hi", "x", 1])),
        ("{1: a, yes: b, 1.5: c}", json!({"1": "a", "true": "b", "1.5": "c"})),
    ];
    for (text, expected) in cases {
        assert_eq!(json_of(text).unwrap(), expected, "{text}");
    }
    for text in ["!!int a", "!!binary '*'", "[.inf]", "~: a", "[a]: b", "!!null a", "*gone"] {
        assert!(json_of(text).is_err(), "{text}");
    }
}

#[test]
fn later_keys_win_and_only_the_first_document_is_read() {
    assert_eq!(json_of("a: 1\na: 2\n").unwrap(), json!({"a": 2}));
    assert_eq!(json_of("a: 1\n---\n]broken").unwrap(), json!({"a": 1}));
    assert_eq!(json_of("").unwrap(), json!(null));
    assert_eq!(json_of("# nothing\n").unwrap(), json!(null));
    let merged = "base: &b {x: 1, w: 2}\na: {x: 0, <<: *b}\nb: {<<: [*b, {z: 3}], w: 4}";
    let merged = json_of(merged).unwrap();
    assert_eq!(merged["a"], json!({"x": 1, "w": 2}));
    assert_eq!(merged["b"], json!({"x": 1, "w": 4, "z": 3}));
}

#[test]
fn utf_16_and_a_byte_order_mark_are_read() {
    for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        let bytes: Vec<u8> = "\u{feff}a: ä".encode_utf16().flat_map(order).collect();
        assert_eq!(parse(&bytes).unwrap().json(), json!({"a": "ä"}));
    }
    assert_eq!(json_of("\u{feff}a: 1\r\n").unwrap(), json!({"a": 1}));
    assert_eq!(parse(b"a: \xff").unwrap_err().to_string(), "this is not UTF-8 text");
    let control = json_of("a: 1\nb: \u{1}").unwrap_err();
    assert_eq!(control, "line 2, column 4: there is a control character");
}

#[test]
fn errors_have_the_position_and_no_text() {
    for text in ["a: 1\nsecret: [", "a: 1\n\tsecret: 2", "a: 1\nb: *secret"] {
        let error = json_of(text).unwrap_err();
        assert!(error.starts_with("line ") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn aliases_neither_recurse_nor_grow_without_limit() {
    assert!(json_of("&a [*a]").unwrap_err().contains("contains itself"));
    assert!(json_of("a: &a {<<: *a}").unwrap_err().contains("contains itself"));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    laughs.extend((1..10).map(|level| {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("a{level}: &a{level} [{items}]\n")
    }));
    assert!(json_of(&laughs).unwrap_err().contains("aliases"));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    chain.extend((1..5000).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)));
    assert!(json_of(&chain).is_err());
    assert!(json_of(&"[".repeat(100_000)).is_err());
    assert!(json_of(&"- ".repeat(100_000)).is_err());
}

//! The type of a scalar, by the rules of YAML 1.1 as go-yaml 2 has them.

use std::sync::Arc;

use base64::Engine;
use serde_json::Number;

use super::{Value, fields::BASE64};

pub(super) const MERGE: &str = "tag:yaml.org,2002:merge";
const CORE: &str = "tag:yaml.org,2002:";

/// The type that a plain scalar has by its text.
enum Found {
    Null,
    Bool(bool),
    Integer(Number),
    Float(f64),
    Timestamp,
    Text,
}

/// The value of a scalar, as JSON can have it.
pub(super) fn resolve(
    tag: Option<&str>,
    plain: bool,
    text: &Arc<str>,
) -> Result<Value, &'static str> {
    let tag = match tag {
        None if !plain => return Ok(Value::Text(text.clone())),
        None | Some("!") => "",
        Some(tag) => match tag.strip_prefix(CORE) {
            Some(core) => core,
            // A tag of somebody's own says nothing about the value.
            None => return Ok(Value::Text(text.clone())),
        },
    };
    let wrong = "this does not fit its tag";
    match (tag, tag_free(tag, text)) {
        ("binary", _) => match BASE64.decode(text.replace(['\r', '\n'], "")) {
            Ok(bytes) => Ok(Value::Text(String::from_utf8_lossy(&bytes).into())),
            Err(_) => Err("this is not base64"),
        },
        ("" | "null", Found::Null) => Ok(Value::Null),
        ("" | "bool", Found::Bool(value)) => Ok(Value::Bool(value)),
        ("" | "int" | "float", Found::Integer(number)) => Ok(Value::Number(number)),
        ("" | "float", Found::Float(number)) => {
            let number = Number::from_f64(number);
            number.map(Value::Number).ok_or("JSON has no such number")
        }
        ("", Found::Text | Found::Timestamp) | ("timestamp", Found::Timestamp) => {
            Ok(Value::Text(text.clone()))
        }
        ("null" | "bool" | "int" | "float" | "timestamp", _) => Err(wrong),
        // Also with the tag `!!str`.
        _ => Ok(Value::Text(text.clone())),
    }
}

fn tag_free(tag: &str, text: &str) -> Found {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Found::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Found::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Found::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => Found::Float(f64::INFINITY),
        text if text.starts_with('.') => float(text).map_or(Found::Text, Found::Float),
        text if text.starts_with(|first: char| first.is_ascii_digit() || "+-".contains(first)) => {
            if (tag.is_empty() || tag == "timestamp") && is_timestamp(text) {
                return Found::Timestamp;
            }
            let plain = text.replace('_', "");
            match integer(&plain) {
                Some(number) => Found::Integer(number),
                None => float(&plain).map_or(Found::Text, Found::Float),
            }
        }
        _ => Found::Text,
    }
}

/// As Go's `ParseInt` with the base in the text.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    let number = if negative { -number } else { number };
    if let Ok(number) = i64::try_from(number) {
        return Some(number.into());
    }
    let signed = text.starts_with(['+', '-']);
    u64::try_from(number).ok().filter(|_| !signed).map(Number::from)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    if !is_mantissa || exponent.is_some_and(|text| !digits(text)) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `2006-1-2`, with or without a time.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let in_range = |text: &str, most: u32| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number: u32| number <= most)
    };
    let mut parts = date.split('-');
    let year = parts.next().unwrap_or_default();
    year.len() == 4
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && parts.next().is_some_and(|month| in_range(month, 12))
        && parts.next().is_some_and(|day| in_range(day, 31))
        && parts.next().is_none()
        && time.is_none_or(|time| time.starts_with(|first: char| first.is_ascii_digit()))
}

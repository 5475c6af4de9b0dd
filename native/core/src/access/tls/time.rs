//! The two forms of time in a certificate, as strictly as Go reads them.

use super::der::Reader;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The next value, in seconds of Unix time.
pub(super) fn read(reader: &mut Reader) -> Option<i64> {
    let (tag, text, _) = reader.any()?;
    let (year_digits, text) = match tag {
        UTC_TIME => (2, text),
        GENERALIZED_TIME => (4, text),
        _ => return None,
    };
    if !text.is_ascii() || text.len() < year_digits {
        return None;
    }
    let (year, rest) = text.split_at(year_digits);
    let mut year = number(year)?;
    if tag == UTC_TIME {
        // 1950 to 2049.
        year += if year < 50 { 2000 } else { 1900 };
    }
    let zone = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(zone);
    let mut pairs = digits.chunks(2).map(number);
    let mut pair = || pairs.next().flatten();
    let (month, day, hour, minute) = (pair()?, pair()?, pair()?, pair()?);
    let second = match (digits.len(), tag) {
        (10, _) => pair()?,
        // UTCTime may leave the seconds out.
        (8, UTC_TIME) => 0,
        _ => return None,
    };
    let valid = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = days_since_epoch(year, month, day);
    valid.then_some(((days * 24 + hour) * 60 + minute) * 60 + second - offset(zone)?)
}

/// `Z`, or hours and minutes, which are not zero.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 4 => {
            let (hours, minutes) = (number(&digits[..2])?, number(&digits[2..])?);
            let seconds = (hours * 60 + minutes) * 60;
            let valid = hours < 24 && minutes < 60 && seconds > 0;
            valid.then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Of the Gregorian calendar, where a year begins in March, so that a leap day is its last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<i64> {
        read(&mut Reader::new(&super::super::der::value(tag, &[text.as_bytes()])))
    }

    #[test]
    fn both_forms() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "7001010000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(seconds(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        assert_eq!(seconds(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        assert_eq!(seconds(UTC_TIME, "700101010000+0100"), Some(0));
        assert_eq!(seconds(UTC_TIME, "691231233000-0030"), Some(0));
    }

    #[test]
    fn malformed_times() {
        for text in [
            "",
            "Z",
            "700101000000",
            "700001000000Z",
            "700132000000Z",
            "710229000000Z",
            "700101240000Z",
            "700101006000Z",
            "700101000060Z",
            "70010100000Z",
            "700101000000+0000",
            "700101000000Zx",
            "700101000000.5Z",
            "é00101000000Z",
        ] {
            assert_eq!(seconds(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(seconds(GENERALIZED_TIME, "197001010000Z"), None);
        assert_eq!(seconds(0x16, "700101000000Z"), None);
    }
}

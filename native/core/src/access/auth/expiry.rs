//! When credentials count as expired, and how long a failure counts.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset};

use super::Error;

/// Credentials are renewed this long before they expire: a request takes its time.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// After a failure, a plugin or issuer is not asked again for this long: many requests may want to.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

pub(super) fn is_valid(expires: Timestamp) -> bool {
    Timestamp::now() + MARGIN < expires
}

/// The time in a text, as Go reads RFC 3339; `None` for another text.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-'])?;
    let (time, zone) = rest.split_at(at);
    // Go takes an hour of one digit, a comma, and more digits than it keeps.
    let (time, fraction) = match time.split_once(['.', ',']) {
        Some((time, fraction)) => (time, is_number(fraction).then_some(fraction)?),
        None => (time, "0"),
    };
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let is_time =
        matches!(hour.len(), 1 | 2) && is_number(hour) && two(minute)? < 60 && two(second)? < 60;
    let is_date = date.len() == 10 && date.split('-').all(is_number);
    if !is_time || !is_date {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(9)];
    let local: DateTime = format!("{date}T{hour:0>2}:{minute}:{second}.{fraction}").parse().ok()?;
    Some(offset(zone)?.to_timestamp(local).unwrap_or(Timestamp::MAX))
}

/// `Z`, or hours and minutes.
fn offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let (sign, digits) = (if zone.starts_with('-') { -60 } else { 60 }, &zone[1..]);
    let (hours, minutes) = digits.split_once(':')?;
    Offset::from_seconds(sign * (two(hours)? * 60 + two(minutes)?)).ok()
}

fn two(digits: &str) -> Option<i32> {
    (digits.len() == 2 && is_number(digits)).then(|| digits.parse().ok())?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is Go's zero time, the first second of the first year, which means that there is none.
pub(super) fn is_zero(time: Timestamp) -> bool {
    time.as_nanosecond() == -62_135_596_800_000_000_000
}

/// The last failure, for [`BACKOFF`].
#[derive(Default)]
pub(super) struct RecentFailure(Option<(Instant, Error)>);

impl RecentFailure {
    pub fn get(&self) -> Option<Error> {
        let (at, error) = self.0.as_ref()?;
        (at.elapsed() < BACKOFF).then(|| error.clone())
    }

    /// Remembers an error, and forgets it after a success.
    pub fn set<T>(&mut self, result: &Result<T, Error>) {
        self.0 = result.as_ref().err().map(|error| (Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_as_go_reads_them() {
        for (text, expected) in [
            ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05Z"),
            ("2030-01-02T3:04:05.1234567899+01:30", "2030-01-02T01:34:05.123456789Z"),
            ("2030-01-02T03:04:05,5-01:00", "2030-01-02T04:04:05.5Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(parse("9999-12-31T23:59:59Z"), Some(Timestamp::MAX));
        assert!(is_zero(parse("0001-01-01T00:00:00Z").unwrap()));
        for text in [
            "",
            "2030-01-02",
            "2030-01-02 03:04:05Z",
            "2030-01-02t03:04:05z",
            "2030-01-02T03:04Z",
            "2030-01-02T03:04:60Z",
            "2030-01-02T03:04:05",
            "2030-01-02T03:04:05+0100",
            "2030-01-02T03:04:05Z[UTC]",
            "2030-01-02T03:04:05é",
            "2030-02-30T03:04:05Z",
            "+2030-1-2T03:04:05Z",
            "20300102T030405Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

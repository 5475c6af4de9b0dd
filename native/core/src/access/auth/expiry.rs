//! When credentials count as expired, and how long a failure counts.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Error;

/// Credentials are renewed this long before they expire: a request takes its time.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// After a failure, a plugin or issuer is not asked again for this long: many requests may want to.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

pub(super) fn is_valid(expires: Timestamp) -> bool {
    Timestamp::now() + MARGIN < expires
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

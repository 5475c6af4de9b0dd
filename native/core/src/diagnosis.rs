//! Diagnosis: the steps of [`crate::attach`] as single checks, for the doctor. Here a failure is one of the
//! possible results.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
    },
    jiff::{civil::DateTime, tz::TimeZone},
};
use kube::{Api, api::PostParams, client::Body};

use crate::access::cluster::{Action, Cluster, Error, Failure};

mod node;
mod pod;

pub use node::{FoundNode, connect, epmd, find};
pub use pod::{PodFacts, pod};

/// How many requests to measure on an open connection.
const WARM_REQUESTS: usize = 5;

/// How the user of a context authenticates, for people. Without secrets.
#[must_use]
pub fn login(cluster: &Cluster) -> String {
    let info = cluster.login();
    let login = match (info.kind, info.name) {
        ("none", _) => "nothing: the kubeconfig has no credentials for it".into(),
        ("in-cluster", _) => "the service account of this pod".into(),
        (kind, Some(name)) => format!("the {kind} {name}"),
        (kind, None) => format!("a {kind}"),
    };
    match cluster.acts_as() {
        Some(other) => format!("{login}, acting as {other}"),
        None => login,
    }
}

/// The version of the API server, and how fast it answers.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its version, such as `v1.37.2`.
    pub version: String,
    /// The first answer, with TCP and TLS if there was no open connection.
    pub first: Duration,
    /// Further answers, sorted.
    pub warm: Vec<Duration>,
    /// How many milliseconds our clock is ahead of the server's, whose date has whole seconds.
    pub ahead_ms: Option<i64>,
}

/// Requests the version of the server several times.
///
/// # Errors
/// [`Error`]
pub async fn server(cluster: &Cluster) -> Result<Server, Error> {
    let (version, first, ahead_ms) = version(cluster).await?;
    let mut warm = Vec::with_capacity(WARM_REQUESTS);
    for _ in 0..WARM_REQUESTS {
        warm.push(self::version(cluster).await?.1);
    }
    warm.sort_unstable();
    Ok(Server { version, first, warm, ahead_ms })
}

async fn version(cluster: &Cluster) -> Result<(String, Duration, Option<i64>), Error> {
    let action = Action { verb: "get", resource: "/version" };
    let start = Instant::now();
    let (date, body) = cluster.request(action, get(cluster, "/version")).await?;
    let took = start.elapsed();
    let version = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|answer| Some(answer.get("gitVersion")?.as_str()?.to_owned()));
    let version = version.ok_or_else(|| Error::NotKubernetes {
        server: cluster.server(),
        problem: "GET /version has no gitVersion".into(),
    })?;
    Ok((version, took, date.and_then(|date| ahead_ms(&date, took))))
}

/// The date and the body of an answer.
async fn get(cluster: &Cluster, path: &str) -> kube::Result<(Option<String>, Vec<u8>)> {
    let request = http::Request::get(path).body(Body::empty()).map_err(kube::Error::HttpError)?;
    let response = cluster.client.send(request).await?;
    if !response.status().is_success() {
        return Err(Failure::read(response).await.into());
    }
    let date = response.headers().get(http::header::DATE);
    let date = date.and_then(|date| date.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await?.to_bytes();
    Ok((date, body.to_vec()))
}

/// The server reads its clock about halfway between request and answer, and truncates it to seconds.
fn ahead_ms(date: &str, took: Duration) -> Option<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let ours = i64::try_from(now.checked_sub(took / 2)?.as_millis()).ok()?;
    let theirs = i64::try_from(http_date(date)?.as_millis()).ok()? + 500;
    Some(ours - theirs)
}

/// `Tue, 24 Nov 2026 20:26:13 GMT`, as the time since 1970.
fn http_date(text: &str) -> Option<Duration> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.strip_suffix(" GMT")?.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = MONTHS.find(words.next()?)? / 3 + 1;
    let year = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(str::parse);
    let mut next = || time.next()?.ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let month = i8::try_from(month).ok()?;
    let date = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_duration().try_into().ok()
}

/// The name and groups of our user. `None` with an API server older than 1.28.
///
/// # Errors
/// [`Error`]
pub async fn user(cluster: &Cluster) -> Result<Option<(String, Vec<String>)>, Error> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let action = Action { verb: "create", resource: "selfsubjectreviews" };
    let review = SelfSubjectReview::default();
    match cluster.request(action, api.create(&PostParams::default(), &review)).await {
        Ok(review) => {
            let user = review.status.and_then(|status| status.user_info);
            Ok(user.and_then(|user| Some((user.username?, user.groups.unwrap_or_default()))))
        }
        Err(Error::Refused { code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A permission in the cluster's namespace, as a Role names it.
#[derive(Debug, Clone)]
pub struct Permission {
    /// `get`
    pub verb: String,
    /// Such as `pods/portforward`, with or without a subresource.
    pub resource: String,
    /// One object, where the permission may be for that one only.
    pub name: Option<String>,
}

/// Whether the user has each of these permissions. Requests all of them at once.
///
/// # Errors
/// [`Error`]
pub async fn permissions(
    cluster: &Cluster,
    permissions: Vec<Permission>,
) -> Result<Vec<bool>, Error> {
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let action = Action { verb: "create", resource: "selfsubjectaccessreviews" };
    let mut tasks = Vec::with_capacity(permissions.len());
    for permission in permissions {
        let (api, cluster) = (api.clone(), cluster.clone());
        let review = review(permission, cluster.namespace());
        tasks.push(tokio::spawn(async move {
            cluster.request(action, api.create(&PostParams::default(), &review)).await
        }));
    }
    let mut allowed = Vec::with_capacity(tasks.len());
    for task in tasks {
        let review = task.await.map_err(|error| Error::NotKubernetes {
            server: cluster.server(),
            problem: error.to_string(),
        })??;
        allowed.push(review.status.is_some_and(|status| status.allowed));
    }
    Ok(allowed)
}

fn review(permission: Permission, namespace: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: Some(namespace.into()),
        verb: Some(permission.verb),
        resource: Some(resource),
        subresource,
        name: permission.name,
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer() {
        let seconds = |text| http_date(text).map(|date| date.as_secs());
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:09 GMT"), Some(9));
        assert_eq!(seconds("Tue, 24 Nov 2026 20:26:13 GMT"), Some(1_795_551_973));
        for text in ["", "GMT", "Tue, 24 Now 2026 20:26:13 GMT", "Tue, 24 Nov 2026 20:26 GMT"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

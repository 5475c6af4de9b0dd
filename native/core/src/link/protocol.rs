//! Which protocol a link speaks: raw SPDY where everything in between lets it pass, as it is the
//! cheapest and every server takes it; else a WebSocket, with what the server chooses inside. What has
//! worked is remembered for each cluster, until it fails.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Link,
    channels::Channels,
    upgrade::{self, No, Upgraded},
    wire::Form,
};
use crate::{
    cluster::{Action, Cluster, Error},
    config::Fingerprint,
};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Old servers leak something with each WebSocket that they refuse, so what all of them take is there.
const EITHER: &str = "SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io";
const FORWARD: &str = "pods/portforward";
/// Kubeconfigs change, and with them their fingerprints; older ones need no place.
const MAX_REMEMBERED: usize = 64;

/// What a caller wants to be spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SPDY, or a WebSocket where that is refused.
    #[default]
    Auto,
    /// SPDY only.
    Spdy,
    /// A WebSocket only; what is inside is the server's choice.
    WebSocket,
    /// A WebSocket for each stream.
    V4,
}

/// What is wanted of a pod: a subresource, and what is spoken on it.
pub(super) struct Wanted<'a> {
    pub pod: &'a str,
    pub subresource: &'static str,
    /// The resource, as a Role names it.
    pub resource: &'static str,
    pub query: String,
    /// The protocol above SPDY.
    pub spdy: &'static str,
    /// The protocols above a WebSocket.
    pub websocket: &'static str,
}

impl Wanted<'_> {
    fn path(&self, cluster: &Cluster) -> String {
        let Self { pod, subresource, query, .. } = self;
        format!("/api/v1/namespaces/{}/pods/{pod}/{subresource}?{query}", cluster.namespace())
    }
}

/// What was got.
pub(super) enum Got {
    Spdy(Upgraded),
    /// With the protocol that the server has chosen.
    WebSocket(Upgraded, String),
}

/// A link to the pod, and what it is, for people. `port` is the one that is wanted first.
///
/// # Errors
/// [`Error`]: 404 where there is no such pod, 400 where it has no node yet.
pub(crate) async fn link(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    protocol: Protocol,
) -> Result<(Link, String), Error> {
    let websocket = if protocol == Protocol::V4 { CHANNELS } else { EITHER };
    let (got, why) = upgrade(cluster, &forward(pod, port, websocket), protocol).await?;
    let (link, what) = match got {
        Got::Spdy(upgraded) => (Link::spdy(upgraded, Form::Spdy), "SPDY/3.1"),
        Got::WebSocket(upgraded, chosen) if chosen == TUNNEL => {
            (Link::spdy(upgraded, Form::Tunnel), "SPDY/3.1 inside a WebSocket")
        }
        Got::WebSocket(upgraded, _) => {
            let channels = Channels::new(cluster, pod, port, upgraded);
            (Link::each(channels), "a WebSocket (v4.channel.k8s.io) for each stream")
        }
    };
    if let Some(why) = &why {
        remember(cluster, why);
    }
    let why = why.map(|why| format!(", as SPDY was refused: {why}")).unwrap_or_default();
    Ok((link, format!("{what} through the API server{why}")))
}

/// One more connection of a link that has one for each stream.
pub(super) async fn channels(cluster: &Cluster, pod: &str, port: u16) -> Result<Upgraded, Error> {
    let wanted = forward(pod, port, CHANNELS);
    match upgrade(cluster, &wanted, Protocol::V4).await?.0 {
        Got::Spdy(upgraded) | Got::WebSocket(upgraded, _) => Ok(upgraded),
    }
}

fn forward<'a>(pod: &'a str, port: u16, websocket: &'static str) -> Wanted<'a> {
    Wanted {
        pod,
        subresource: "portforward",
        resource: FORWARD,
        // SPDY names its ports later.
        query: format!("ports={port}"),
        spdy: "portforward.k8s.io",
        websocket,
    }
}

/// Asks in one way, and then in the other where the first is refused. With a WebSocket comes why it
/// was not SPDY, unless it was asked for.
pub(super) async fn upgrade(
    cluster: &Cluster,
    wanted: &Wanted<'_>,
    protocol: Protocol,
) -> Result<(Got, Option<String>), Error> {
    let known = if protocol == Protocol::Auto { remembered(cluster) } else { None };
    let (first, second) = match protocol {
        Protocol::Auto if known.is_some() => (Asked::WebSocket, Some(Asked::Spdy)),
        Protocol::Auto => (Asked::Spdy, Some(Asked::WebSocket)),
        Protocol::Spdy => (Asked::Spdy, None),
        Protocol::WebSocket | Protocol::V4 => (Asked::WebSocket, None),
    };
    let asked = ask(cluster, wanted, first).await;
    if known.is_some() && wanted.resource == FORWARD && !matches!(asked, Ok(Ok(_))) {
        forget(cluster);
    }
    let no = match asked? {
        Ok(got) => return Ok((got, known)),
        Err(no) => no,
    };
    tracing::debug!(name: "upgrade", asked = first.name(), refused = %no);
    let Some(second) = second else { return Err(refused(cluster, wanted, &[(first, no)])) };
    match ask(cluster, wanted, second).await? {
        Ok(got @ Got::WebSocket(..)) => Ok((got, Some(no.to_string()))),
        Ok(got @ Got::Spdy(_)) => Ok((got, None)),
        Err(other) => Err(refused(cluster, wanted, &[(first, no), (second, other)])),
    }
}

/// The two ways to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Spdy,
    WebSocket,
}

impl Asked {
    /// The verb that the API server authorizes the request by: it is named by the method.
    fn verb(self) -> &'static str {
        match self {
            Self::Spdy => "create",
            Self::WebSocket => "get",
        }
    }

    /// The verb that an API server misses, where it answers 403 with this message.
    ///
    /// From Kubernetes 1.35 on it authorizes a GET of `portforward` or `exec` for `create`, too
    /// (`AuthorizePodWebsocketUpgradeCreatePermission`; `ensureAuthorizedForVerb` in
    /// `pkg/registry/core/pod/rest/authorize.go`). That check does not name its verb, as the one for the method
    /// does: `User "dev" cannot get resource "pods/portforward"`.
    fn missing_verb(self, message: &str) -> &'static str {
        match self {
            Self::WebSocket if message.contains("cannot get resource") => "get",
            Self::Spdy | Self::WebSocket => "create",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Spdy => "SPDY",
            Self::WebSocket => "a WebSocket",
        }
    }
}

async fn ask(
    cluster: &Cluster,
    wanted: &Wanted<'_>,
    asked: Asked,
) -> Result<Result<Got, No>, Error> {
    let action = Action { verb: asked.verb(), resource: wanted.resource };
    let path = wanted.path(cluster);
    match asked {
        Asked::Spdy => {
            let request = || upgrade::spdy(cluster, &path, wanted.spdy);
            let mut got = cluster.ask(action, request()).await?;
            if matches!(got, Err(No::Closed)) {
                // It may have been an idle connection that was closed as we took it.
                got = cluster.ask(action, request()).await?;
            }
            Ok(got.map(Got::Spdy))
        }
        Asked::WebSocket => {
            let request = upgrade::websocket(cluster, &path, wanted.websocket);
            let got = cluster.ask(action, request).await?;
            Ok(got.map(|(upgraded, protocol)| Got::WebSocket(upgraded, protocol)))
        }
    }
}

/// What it means that none of these was taken.
fn refused(cluster: &Cluster, wanted: &Wanted, answers: &[(Asked, No)]) -> Error {
    let (namespace, resource) = (cluster.namespace().to_owned(), wanted.resource);
    match missing_verbs(answers)[..] {
        [(verb, message)] => {
            Error::Forbidden { verb, resource, namespace, message: message.into() }
        }
        [(_create, message), _get] => {
            Error::ForbiddenBothWays { resource, namespace, message: message.into() }
        }
        _ => {
            let told =
                |(asked, no): &(Asked, No)| format!("{} was answered with {no}", asked.name());
            Error::NoUpgrade {
                server: cluster.server(),
                pod: wanted.pod.into(),
                namespace,
                answers: answers.iter().map(told).collect(),
            }
        }
    }
}

/// The verbs that the API server misses, each once, with its words: `create` before `get`. The answer to SPDY
/// is the one that names `create`.
fn missing_verbs(answers: &[(Asked, No)]) -> Vec<(&'static str, &str)> {
    let mut missing = Vec::with_capacity(2);
    for asked in [Asked::Spdy, Asked::WebSocket] {
        for (other, no) in answers {
            if let (true, No::Forbidden(message)) = (asked == *other, no) {
                missing.push((asked.missing_verb(message), message.as_str()));
            }
        }
    }
    missing.dedup_by_key(|(verb, _message)| *verb);
    missing
}

/// Where SPDY was refused and a WebSocket has worked, and how it was refused.
static REMEMBERED: Mutex<Option<HashMap<Fingerprint, String>>> = Mutex::new(None);

fn memory() -> MutexGuard<'static, Option<HashMap<Fingerprint, String>>> {
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remembered(cluster: &Cluster) -> Option<String> {
    memory().as_ref()?.get(&cluster.fingerprint()?).cloned()
}

fn remember(cluster: &Cluster, why: &str) {
    let Some(fingerprint) = cluster.fingerprint() else { return };
    let mut memory = memory();
    let clusters = memory.get_or_insert_default();
    if clusters.len() >= MAX_REMEMBERED {
        clusters.clear();
    }
    clusters.insert(fingerprint, why.into());
}

fn forget(cluster: &Cluster) {
    if let (Some(fingerprint), Some(clusters)) = (cluster.fingerprint(), memory().as_mut()) {
        clusters.remove(&fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const NO_CREATE: &str =
        "pods \"app-0\" is forbidden: User \"dev\" cannot create resource \"pods/portforward\"";
    const NO_GET: &str =
        "pods \"app-0\" is forbidden: User \"dev\" cannot get resource \"pods/portforward\"";
    // Of Kubernetes 1.35 and newer, where `get` is allowed and `create` is not.
    const UNNAMED: &str = "pods \"app-0\" is forbidden: ";

    fn missing(answers: &[(Asked, &str)]) -> Vec<(&'static str, String)> {
        let forbidden = |message: &&str| No::Forbidden((*message).to_owned());
        let answers: Vec<_> = answers.iter().map(|(asked, no)| (*asked, forbidden(no))).collect();
        let missing = missing_verbs(&answers);
        missing.into_iter().map(|(verb, message)| (verb, message.to_owned())).collect()
    }

    #[test]
    fn the_verb_that_is_missing_is_in_the_answer() {
        use Asked::{Spdy, WebSocket};
        let create = ("create", NO_CREATE.to_owned());
        let get = ("get", NO_GET.to_owned());
        assert_eq!(missing(&[(Spdy, NO_CREATE)]), from_ref(&create));
        assert_eq!(missing(&[(WebSocket, NO_GET)]), from_ref(&get));
        assert_eq!(missing(&[(WebSocket, UNNAMED)]), [("create", UNNAMED.to_owned())]);
        let both = [(Spdy, NO_CREATE), (WebSocket, NO_GET)];
        assert_eq!(missing(&both), [create.clone(), get.clone()]);
        let both = [(WebSocket, NO_GET), (Spdy, NO_CREATE)];
        assert_eq!(missing(&both), [create.clone(), get]);
        // `create` is asked for twice, and SPDY's answer names it.
        assert_eq!(missing(&[(Spdy, NO_CREATE), (WebSocket, UNNAMED)]), from_ref(&create));
        assert_eq!(missing(&[(WebSocket, UNNAMED), (Spdy, NO_CREATE)]), [create]);
    }

    #[test]
    fn a_gateway_that_refuses_one_form_does_not_hide_the_missing_verb_of_the_other() {
        let gateway = || No::Refused("400 Bad Request".into());
        let no_get = || No::Forbidden(NO_GET.into());
        let answers = [(Asked::Spdy, gateway()), (Asked::WebSocket, no_get())];
        assert_eq!(missing_verbs(&answers), [("get", NO_GET)]);
        let answers = [(Asked::Spdy, gateway()), (Asked::WebSocket, gateway())];
        assert_eq!(missing_verbs(&answers), []);
    }
}

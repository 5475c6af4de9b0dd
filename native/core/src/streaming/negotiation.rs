//! Negotiates the protocol of a connection: raw SPDY where every proxy passes it, as it is the cheapest and
//! every server accepts it; otherwise a WebSocket, with the protocol inside chosen by the server. What works
//! for port-forward is remembered for each cluster, until it fails.

use super::upgrade::{self, UpgradeRefused, Upgraded};
use crate::{
    access::{
        cluster::{Action, Cluster, Error},
        kubeconfig::Fingerprint,
    },
    shared_map::SharedMap,
};

/// The protocol that a caller selects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SPDY, or a WebSocket where that is refused.
    #[default]
    Auto,
    /// Only SPDY.
    Spdy,
    /// Only a WebSocket. The server chooses the protocol inside.
    WebSocket,
    /// A WebSocket for each pair of streams.
    V4,
}

/// A request for a subresource of a pod, and the protocols on it.
pub(crate) struct Subresource<'a> {
    pub pod: &'a str,
    pub name: &'static str,
    /// As a Role names it.
    pub resource: &'static str,
    pub query: String,
    /// The protocol on top of SPDY.
    pub spdy: &'static str,
    /// The protocols on top of a WebSocket.
    pub websocket: &'static str,
    /// Whether to remember what works.
    pub remember: bool,
}

impl Subresource<'_> {
    fn path(&self, cluster: &Cluster) -> String {
        let Self { pod, name, query, .. } = self;
        format!("/api/v1/namespaces/{}/pods/{pod}/{name}?{query}", cluster.namespace())
    }
}

/// An upgraded connection.
pub(crate) enum Negotiated {
    Spdy(Upgraded),
    /// With the protocol that the server chose.
    WebSocket(Upgraded, String),
}

/// Where SPDY was refused and a WebSocket worked, and the answer to SPDY.
static SPDY_REFUSALS: SharedMap<Fingerprint, String> = SharedMap::new(64);

/// Requests one kind of upgrade, and the other one where the first is refused. Together with a WebSocket it
/// returns why SPDY was refused, unless the caller selected the WebSocket.
///
/// # Errors
/// [`Error`]: 404 where there is no such pod, 400 where it has no node yet.
pub(crate) async fn negotiate(
    cluster: &Cluster,
    subresource: &Subresource<'_>,
    protocol: Protocol,
) -> Result<(Negotiated, Option<String>), Error> {
    let fingerprint = cluster.fingerprint().filter(|_| protocol == Protocol::Auto);
    let known = fingerprint.and_then(|fingerprint| SPDY_REFUSALS.get(&fingerprint));
    let (first, second) = match protocol {
        Protocol::Auto if known.is_some() => (UpgradeKind::WebSocket, Some(UpgradeKind::Spdy)),
        Protocol::Auto => (UpgradeKind::Spdy, Some(UpgradeKind::WebSocket)),
        Protocol::Spdy => (UpgradeKind::Spdy, None),
        Protocol::WebSocket | Protocol::V4 => (UpgradeKind::WebSocket, None),
    };
    let fingerprint = fingerprint.filter(|_| subresource.remember);
    let result = request(cluster, subresource, first).await;
    if let (Some(fingerprint), Some(_), false) = (&fingerprint, &known, matches!(result, Ok(Ok(_))))
    {
        SPDY_REFUSALS.remove(fingerprint);
    }
    let refused = match result? {
        Ok(negotiated) => return Ok((negotiated, known)),
        Err(refused) => refused,
    };
    tracing::debug!(name: "upgrade", protocol = first.name(), refused = %refused);
    let Some(second) = second else {
        return Err(error(cluster, subresource, &[(first, refused)]));
    };
    match request(cluster, subresource, second).await? {
        Ok(negotiated @ Negotiated::WebSocket(..)) => {
            let reason = refused.to_string();
            if let Some(fingerprint) = fingerprint {
                SPDY_REFUSALS.insert(fingerprint, reason.clone());
            }
            Ok((negotiated, Some(reason)))
        }
        Ok(negotiated @ Negotiated::Spdy(_)) => Ok((negotiated, None)),
        Err(other) => Err(error(cluster, subresource, &[(first, refused), (second, other)])),
    }
}

/// The two kinds of upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UpgradeKind {
    Spdy,
    WebSocket,
}

impl UpgradeKind {
    /// The verb that authorizes the request. The HTTP method decides.
    fn verb(self) -> &'static str {
        match self {
            Self::Spdy => "create",
            Self::WebSocket => "get",
        }
    }

    /// The verb that the user lacks, where the API server answers 403 with this message.
    ///
    /// Since Kubernetes 1.35 it also authorizes a GET of `portforward` or `exec` for `create`
    /// (`AuthorizePodWebsocketUpgradeCreatePermission`; `ensureAuthorizedForVerb` in
    /// `pkg/registry/core/pod/rest/authorize.go`). The message of that check does not name the verb, as the one
    /// for the method does: `User "dev" cannot get resource "pods/portforward"`.
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

async fn request(
    cluster: &Cluster,
    subresource: &Subresource<'_>,
    kind: UpgradeKind,
) -> Result<Result<Negotiated, UpgradeRefused>, Error> {
    let action = Action { verb: kind.verb(), resource: subresource.resource };
    let path = subresource.path(cluster);
    match kind {
        UpgradeKind::Spdy => {
            let request = upgrade::spdy(cluster, &path, subresource.spdy);
            let upgraded = cluster.request(action, request).await?;
            Ok(upgraded.map(Negotiated::Spdy))
        }
        UpgradeKind::WebSocket => {
            let request = upgrade::websocket(cluster, &path, subresource.websocket);
            let upgraded = cluster.request(action, request).await?;
            Ok(upgraded.map(|(upgraded, protocol)| Negotiated::WebSocket(upgraded, protocol)))
        }
    }
}

/// The error where each of these requests was refused.
fn error(
    cluster: &Cluster,
    subresource: &Subresource,
    answers: &[(UpgradeKind, UpgradeRefused)],
) -> Error {
    let (namespace, resource) = (cluster.namespace().to_owned(), subresource.resource);
    match missing_verbs(answers)[..] {
        [(verb, message)] => {
            Error::Forbidden { verb, resource, namespace, message: message.into() }
        }
        [(_create, message), _get] => {
            Error::ForbiddenGetAndCreate { resource, namespace, message: message.into() }
        }
        _ => {
            let answer = |(kind, refused): &(UpgradeKind, UpgradeRefused)| {
                format!("{} was answered with {refused}", kind.name())
            };
            Error::NoUpgrade {
                server: cluster.server(),
                pod: subresource.pod.into(),
                namespace,
                answers: answers.iter().map(answer).collect(),
            }
        }
    }
}

/// The verbs that the user lacks, each once, with the message: `create` before `get`. Of two messages for
/// `create`, the one for SPDY names the verb.
fn missing_verbs(answers: &[(UpgradeKind, UpgradeRefused)]) -> Vec<(&'static str, &str)> {
    let mut missing = Vec::with_capacity(2);
    for kind in [UpgradeKind::Spdy, UpgradeKind::WebSocket] {
        for (other, refused) in answers {
            if let (true, UpgradeRefused::Forbidden(message)) = (kind == *other, refused) {
                missing.push((kind.missing_verb(message), message.as_str()));
            }
        }
    }
    missing.dedup_by_key(|(verb, _message)| *verb);
    missing
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

    fn missing(answers: &[(UpgradeKind, &str)]) -> Vec<(&'static str, String)> {
        let forbidden = |message: &&str| UpgradeRefused::Forbidden((*message).to_owned());
        let answers: Vec<_> =
            answers.iter().map(|(kind, message)| (*kind, forbidden(message))).collect();
        let missing = missing_verbs(&answers);
        missing.into_iter().map(|(verb, message)| (verb, message.to_owned())).collect()
    }

    #[test]
    fn the_verb_that_is_missing_is_in_the_answer() {
        use UpgradeKind::{Spdy, WebSocket};
        let create = ("create", NO_CREATE.to_owned());
        let get = ("get", NO_GET.to_owned());
        assert_eq!(missing(&[(Spdy, NO_CREATE)]), from_ref(&create));
        assert_eq!(missing(&[(WebSocket, NO_GET)]), from_ref(&get));
        assert_eq!(missing(&[(WebSocket, UNNAMED)]), [("create", UNNAMED.to_owned())]);
        let both = [(Spdy, NO_CREATE), (WebSocket, NO_GET)];
        assert_eq!(missing(&both), [create.clone(), get.clone()]);
        let both = [(WebSocket, NO_GET), (Spdy, NO_CREATE)];
        assert_eq!(missing(&both), [create.clone(), get]);
        // Both lack `create`, and the answer to SPDY names it.
        assert_eq!(missing(&[(Spdy, NO_CREATE), (WebSocket, UNNAMED)]), from_ref(&create));
        assert_eq!(missing(&[(WebSocket, UNNAMED), (Spdy, NO_CREATE)]), [create]);
    }

    #[test]
    fn a_gateway_that_refuses_one_form_does_not_hide_the_missing_verb_of_the_other() {
        let gateway = || UpgradeRefused::Answer("400 Bad Request".into());
        let no_get = || UpgradeRefused::Forbidden(NO_GET.into());
        let answers = [(UpgradeKind::Spdy, gateway()), (UpgradeKind::WebSocket, no_get())];
        assert_eq!(missing_verbs(&answers), [("get", NO_GET)]);
        let answers = [(UpgradeKind::Spdy, gateway()), (UpgradeKind::WebSocket, gateway())];
        assert_eq!(missing_verbs(&answers), []);
    }
}

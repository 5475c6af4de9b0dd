//! The container that runs the node, and what its spec says of it.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

/// How sure a spec makes that a container runs a node, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    None,
    /// A name that ends in `COOKIE`: those of browsers do, too.
    Cookie,
    /// A name or a port that nothing else has.
    Erlang,
}

/// Variables that only an Erlang node is given.
const VARIABLES: [&str; 8] = [
    "RELEASE_COOKIE",
    "ERLANG_COOKIE",
    "RELEASE_NAME",
    "RELEASE_NODE",
    "RELEASE_DISTRIBUTION",
    "ERL_PORT",
    "ERL_DIST_PORT",
    "ERL_FLAGS",
];

/// kubectl's own annotation.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The one asked for, else the one with the surest sign of Erlang, else the one that the pod's
/// annotation calls its default, else the first.
#[must_use]
pub fn choose<'a>(pod: &'a Pod, wanted: Option<&str>) -> Option<&'a Container> {
    let containers = &pod.spec.as_ref()?.containers;
    let named = |name: &str| containers.iter().find(|container| container.name == name);
    if let Some(name) = wanted {
        return named(name);
    }
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get(DEFAULT_CONTAINER));
    // Of equals the first: `max_by_key` would take the last.
    let surest = containers.iter().rev().max_by_key(|container| evidence(container));
    surest
        .filter(|container| has_evidence(container))
        .or_else(|| default.and_then(|name| named(name)))
        .or_else(|| containers.first())
}

/// Why [`choose`] takes the one it takes, in words.
#[must_use]
pub fn why(pod: &Pod, wanted: Option<&str>) -> &'static str {
    let chosen = choose(pod, wanted);
    let annotations = pod.metadata.annotations.as_ref();
    match chosen.map(evidence) {
        _ if wanted.is_some() => "as asked for",
        Some(Evidence::Erlang) => "by its ports or variables, which are an Erlang node's",
        Some(Evidence::Cookie) => "by a variable whose name ends in COOKIE",
        _ if annotations.is_some_and(|all| all.contains_key(DEFAULT_CONTAINER)) => {
            "the pod's default container"
        }
        _ => "the first one; none looks like an Erlang node's",
    }
}

/// Whether the spec of a container looks like an Erlang node's.
#[must_use]
pub fn has_evidence(container: &Container) -> bool {
    evidence(container) != Evidence::None
}

fn evidence(container: &Container) -> Evidence {
    let mut ports = container.ports.iter().flatten();
    let mut names = container.env.iter().flatten().map(|var| var.name.as_str());
    if ports.any(|port| port.container_port == 4369 || port.name.as_deref() == Some("epmd"))
        || names.clone().any(|name| VARIABLES.contains(&name))
    {
        Evidence::Erlang
    } else if names.any(is_cookie) {
        Evidence::Cookie
    } else {
        Evidence::None
    }
}

/// Whether a variable of that name may hold a cookie.
pub(crate) fn is_cookie(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with("COOKIE")
}

/// Words that the container's command line and its variables of options for the VM are made of, as
/// far as the spec tells them.
pub(crate) fn words(pod: &Pod, container: &Container) -> Vec<String> {
    const OPTIONS: [&str; 4] = ["ERL_AFLAGS", "ELIXIR_ERL_OPTIONS", "ERL_FLAGS", "ERL_ZFLAGS"];
    let vars = container.env.as_deref().unwrap_or_default();
    let typed = container.command.iter().chain(&container.args).flatten();
    let typed = typed.filter_map(|text| expand(pod, vars, text));
    let options = OPTIONS.iter().filter_map(|name| value_of(pod, container, name));
    let texts = typed.chain(options).collect::<Vec<_>>();
    texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// The value of a variable, where the spec alone tells it, as the kubelet expands it: the last one
/// of a name counts, and sees those before it.
pub(crate) fn value_of(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    let vars = container.env.as_deref().unwrap_or_default();
    let at = vars.iter().rposition(|var| var.name == name)?;
    let (before, var) = (&vars[..at], &vars[at]);
    match &var.value {
        Some(value) => expand(pod, before, value),
        None => from_field(pod, var),
    }
}

/// Replaces each `$(NAME)`; `None` where one of them is not known here.
fn expand(pod: &Pod, before: &[EnvVar], value: &str) -> Option<String> {
    let mut parts = value.split("$(");
    let mut expanded = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')')?;
        let var = before.iter().rev().find(|var| var.name == name)?;
        let value = match &var.value {
            Some(value) if !value.contains("$(") => value.clone(),
            Some(_) => return None,
            None => from_field(pod, var)?,
        };
        expanded.push_str(&value);
        expanded.push_str(rest);
    }
    Some(expanded)
}

fn from_field(pod: &Pod, var: &EnvVar) -> Option<String> {
    match var.value_from.as_ref()?.field_ref.as_ref()?.field_path.as_str() {
        "status.podIP" => pod.status.as_ref()?.pod_ip.clone(),
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        _ => None,
    }
}

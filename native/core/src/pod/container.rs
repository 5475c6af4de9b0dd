//! The container of the node, and its environment by the spec.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

/// How strongly a spec suggests that a container runs a node, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    None,
    /// A name that ends in `COOKIE`. Those of web cookies do, too.
    Cookie,
    /// A name or a port that only Erlang has.
    Erlang,
}

/// Variables that only an Erlang node has.
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

/// An annotation of kubectl.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The requested container, or else the one with the strongest evidence of Erlang, or else the default of the
/// pod's annotation, or else the first.
#[must_use]
pub fn choose<'a>(pod: &'a Pod, requested: Option<&str>) -> Option<&'a Container> {
    let containers = &pod.spec.as_ref()?.containers;
    let named = |name: &str| containers.iter().find(|container| container.name == name);
    if let Some(name) = requested {
        return named(name);
    }
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get(DEFAULT_CONTAINER));
    // Of equals the first: `max_by_key` returns the last.
    let strongest = containers.iter().rev().max_by_key(|container| evidence(container));
    strongest
        .filter(|container| has_evidence(container))
        .or_else(|| default.and_then(|name| named(name)))
        .or_else(|| containers.first())
}

/// Why [`choose`] returns that container.
#[must_use]
pub fn selection_reason(pod: &Pod, requested: Option<&str>) -> &'static str {
    let chosen = choose(pod, requested);
    let annotations = pod.metadata.annotations.as_ref();
    match chosen.map(evidence) {
        _ if requested.is_some() => "as asked for",
        Some(Evidence::Erlang) => "by its ports or variables, which are an Erlang node's",
        Some(Evidence::Cookie) => "by a variable whose name ends in COOKIE",
        _ if annotations.is_some_and(|all| all.contains_key(DEFAULT_CONTAINER)) => {
            "the pod's default container"
        }
        _ => "the first one; none looks like an Erlang node's",
    }
}

/// Whether the spec of a container suggests an Erlang node.
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

/// The arguments of the container's command line, and those in its variables for options of the VM, as
/// far as the spec has them.
pub(crate) fn arguments(pod: &Pod, container: &Container) -> Vec<String> {
    const OPTIONS: [&str; 4] = ["ERL_AFLAGS", "ELIXIR_ERL_OPTIONS", "ERL_FLAGS", "ERL_ZFLAGS"];
    let vars = container.env.as_deref().unwrap_or_default();
    let command_line = container.command.iter().chain(&container.args).flatten();
    let command_line = command_line.filter_map(|text| expand(pod, vars, text));
    let options = OPTIONS.iter().filter_map(|name| value_of(pod, container, name));
    let texts = command_line.chain(options).collect::<Vec<_>>();
    texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// The value of a variable, where the spec alone determines it. As the kubelet expands it: the last one of a
/// name counts, and may refer to those before it.
pub(crate) fn value_of(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    let vars = container.env.as_deref().unwrap_or_default();
    let at = vars.iter().rposition(|var| var.name == name)?;
    let (before, var) = (&vars[..at], &vars[at]);
    match &var.value {
        Some(value) => expand(pod, before, value),
        None => from_field(pod, var),
    }
}

/// Replaces each `$(NAME)`; `None` where the spec does not determine one of them.
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

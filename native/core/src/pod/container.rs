//! The container of the node, and its environment by the spec.

use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, Pod};

use super::settings::{self, Piece, is_cookie};

/// How strongly a spec suggests that a container runs a node, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    None,
    /// A name that ends in `COOKIE`. Those of web cookies do, too.
    Cookie,
    /// A name or a port that only Erlang has.
    Erlang,
}

/// Variables that only an Erlang node has, beside those of cookies and of options of the VM.
const VARIABLES: [&str; 13] = [
    "RELEASE_NAME",
    "RELEASE_NODE",
    "RELEASE_DISTRIBUTION",
    "ERL_PORT",
    "ERL_DIST_PORT",
    "ERLANG_NODE_ARG",
    "LIVEBOOK_NODE",
    "RABBITMQ_NODENAME",
    "RABBITMQ_NODE_NAME",
    "RABBITMQ_ERL_COOKIE_FILE",
    "RABBITMQ_USE_LONGNAME",
    "RABBITMQ_MNESIA_DIR",
    "RABBITMQ_ENABLED_PLUGINS_FILE",
];

/// The beginnings of other variables of this kind. The clients of a broker have `RABBITMQ_` and `EMQX_`, too.
const PREFIXES: [&str; 3] = ["EMQX_NODE__", "EMQX_CLUSTER__", "DOCKER_VERNEMQ_"];

/// epmd's port, and `RabbitMQ`'s distribution port.
const PORTS: [i32; 2] = [4369, 25672];
/// The names of distribution ports: of `EMQX`, of `RabbitMQ`.
const PORT_NAMES: [&str; 3] = ["epmd", "ekka", "dist"];

/// How many variables and ports are named as the evidence, and how many characters of each.
const MAX_SIGNS: usize = 5;
const MAX_SIGN: usize = 64;

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

/// The variables and ports that suggest an Erlang node, for people: `RELEASE_NODE`, `port epmd`. Those of cookies only
/// if there are no others. At most [`MAX_SIGNS`].
#[must_use]
pub fn signs(container: &Container) -> Vec<String> {
    let names = || container.env.iter().flatten().map(|var| var.name.as_str());
    let ports = container.ports.iter().flatten().filter(|port| is_of_erlang(port));
    let ports = ports.map(|port| match port.name.as_deref() {
        Some(name) => format!("port {name}"),
        None => format!("port {}", port.container_port),
    });
    let of_erlang = names().filter(|name| is_variable_of_erlang(name)).map(short).chain(ports);
    let of_erlang: Vec<_> = of_erlang.take(MAX_SIGNS).collect();
    if of_erlang.is_empty() {
        names().filter(|name| is_cookie(name)).map(short).take(MAX_SIGNS).collect()
    } else {
        of_erlang
    }
}

/// The name of a variable has no limit.
fn short(name: &str) -> String {
    name.chars().take(MAX_SIGN).collect()
}

fn evidence(container: &Container) -> Evidence {
    let mut ports = container.ports.iter().flatten();
    let mut names = container.env.iter().flatten().map(|var| var.name.as_str());
    if ports.any(is_of_erlang) || names.clone().any(is_variable_of_erlang) {
        Evidence::Erlang
    } else if names.any(is_cookie) {
        Evidence::Cookie
    } else {
        Evidence::None
    }
}

fn is_of_erlang(port: &ContainerPort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    PORTS.contains(&port.container_port)
        || PORT_NAMES.contains(&name)
        || name.split('-').any(|word| ["erl", "erlang", "beam"].contains(&word))
}

fn is_variable_of_erlang(name: &str) -> bool {
    VARIABLES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || settings::rank(name).is_some_and(|rank| rank <= settings::WELL_KNOWN)
        || settings::is_option_variable(name)
}

/// The words of the container's command line, and those in its variables for options of the VM, as far as the
/// spec has them.
pub(crate) fn arguments(pod: &Pod, container: &Container) -> Vec<String> {
    let texts = settings::option_texts(container).flat_map(|text| text.words);
    expand_all(pod, container, texts)
}

/// The words; the shell or the kubelet replaces their references. A reference that the spec does not determine stays, so
/// that no other word takes its place.
pub(crate) fn expand_all(
    pod: &Pod,
    container: &Container,
    words: impl Iterator<Item = String>,
) -> Vec<String> {
    let vars = container.env.as_deref().unwrap_or_default();
    let mut budget = Budget::default();
    let expand =
        |word: String| join(pod, vars, settings::pieces(&word, true), &mut budget).unwrap_or(word);
    words.map(expand).collect()
}

/// The value of a variable, where the spec alone determines it. As the kubelet expands it: the last one of a
/// name counts, and may refer to those before it.
pub(crate) fn value_of(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    let vars = container.env.as_deref().unwrap_or_default();
    value_before(pod, vars, name, &mut Budget::default())
}

/// How much the references of a spec may expand to. Variables that refer to each other double with each one, and a
/// variable of a process has at most 128 KiB.
#[derive(Debug)]
pub(crate) struct Budget {
    references: usize,
    bytes: usize,
    /// Of references within references, which are calls within calls.
    depth: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { references: 1000, bytes: 256 * 1024, depth: 32 }
    }
}

impl Budget {
    /// `None` if it is used up.
    pub fn reference(&mut self) -> Option<()> {
        self.references = self.references.checked_sub(1)?;
        Some(())
    }

    /// `None` if it is used up.
    pub fn text(&mut self, text: &str) -> Option<()> {
        self.bytes = self.bytes.checked_sub(text.len())?;
        Some(())
    }
}

fn value_before(pod: &Pod, vars: &[EnvVar], name: &str, budget: &mut Budget) -> Option<String> {
    budget.reference()?;
    let at = vars.iter().rposition(|var| var.name == name)?;
    let value = match &vars[at].value {
        Some(value) => {
            budget.depth = budget.depth.checked_sub(1)?;
            let value = join(pod, &vars[..at], settings::pieces(value, false), budget);
            budget.depth += 1;
            value?
        }
        None => from_field(pod, &vars[at])?,
    };
    budget.text(&value)?;
    Some(value)
}

/// `None` where the spec does not determine one of the references.
fn join(pod: &Pod, before: &[EnvVar], pieces: Vec<Piece>, budget: &mut Budget) -> Option<String> {
    let texts = pieces.into_iter().map(|piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Reference(name) => value_before(pod, before, &name, budget),
    });
    texts.collect()
}

/// The value of a variable that is a field of the pod.
pub(crate) fn from_field(pod: &Pod, var: &EnvVar) -> Option<String> {
    match var.value_from.as_ref()?.field_ref.as_ref()?.field_path.as_str() {
        "status.podIP" => pod.status.as_ref()?.pod_ip.clone(),
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn found(container: &serde_json::Value) -> Evidence {
        evidence(&serde_json::from_value(container.clone()).unwrap())
    }

    #[test]
    fn variables_of_nodes_and_of_their_clients() {
        let with = |name: &str| found(&json!({"name": "x", "env": [{"name": name}]}));
        for name in [
            "RELEASE_COOKIE",
            "RELEASE_NODE",
            "ERL_FLAGS",
            "ELIXIR_ERL_OPTIONS",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "RABBITMQ_NODENAME",
            "RABBITMQ_ERLANG_COOKIE",
            "RABBITMQ_ERL_COOKIE_FILE",
            "EMQX_NODE__COOKIE",
            "EMQX_CLUSTER__DISCOVERY_STRATEGY",
            "DOCKER_VERNEMQ_DISCOVERY_KUBERNETES",
            "COUCHDB_ERLANG_COOKIE",
            "ERLANG_NODE_ARG",
            "LIVEBOOK_NODE",
        ] {
            assert_eq!(with(name), Evidence::Erlang, "{name}");
        }
        assert_eq!(with("SESSION_COOKIE"), Evidence::Cookie);
        for name in ["RABBITMQ_HOST", "RABBITMQ_URL", "EMQX_HOST", "NODE_ENV", "COOKIES"] {
            assert_eq!(with(name), Evidence::None, "{name}");
        }
    }

    #[test]
    fn the_signs_of_a_node() {
        let signs =
            |container: serde_json::Value| signs(&serde_json::from_value(container).unwrap());
        let cookies = [json!({"name": "SESSION_COOKIE"}), json!({"name": "PATH"})];
        assert_eq!(signs(json!({"name": "x", "env": cookies})), ["SESSION_COOKIE"]);
        let env = [&cookies[0], &json!({"name": "RELEASE_NODE"})];
        let ports = [
            json!({"name": "http", "containerPort": 80}),
            json!({"containerPort": 4369}),
            json!({"name": "dist", "containerPort": 9100}),
        ];
        let container = json!({"name": "x", "env": env, "ports": ports});
        assert_eq!(signs(container), ["RELEASE_NODE", "port 4369", "port dist"]);
        let env: Vec<_> =
            (0..9).map(|n| json!({"name": format!("EMQX_NODE__{n}{}", "x".repeat(99))})).collect();
        let many = signs(json!({"name": "x", "env": env}));
        assert_eq!((many.len(), many[0].len()), (MAX_SIGNS, MAX_SIGN));
        assert_eq!(signs(json!({"name": "x"})), [""; 0]);
    }

    #[test]
    fn variables_that_double_each_other_end() {
        let reference = |number: usize| format!("$(V{number})$(V{number})");
        let vars = (1..100)
            .map(|number| json!({"name": format!("V{number}"), "value": reference(number - 1)}));
        let mut env = vec![json!({"name": "V0", "value": "x"})];
        env.extend(vars);
        // As deep as a text is long
        let chain = (1..5000).map(
            |number| json!({"name": format!("C{number}"), "value": format!("$(C{})", number - 1)}),
        );
        env.push(json!({"name": "C0", "value": "x"}));
        env.extend(chain);
        let container = json!({"name": "x", "env": env, "args": ["$(C4999)", "a$(V1)", reference(99), "b$(V1)"]});
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(value_of(&pod, container, "V3").as_deref(), Some("xxxxxxxx"));
        assert_eq!(value_of(&pod, container, "V99"), None);
        assert_eq!(value_of(&pod, container, "C4999"), None);
        assert_eq!(value_of(&pod, container, "C30").as_deref(), Some("x"));
        assert_eq!(arguments(&pod, container), ["$(C4999)", "axx", &reference(99), "bxx"]);
    }

    #[test]
    fn ports_of_nodes() {
        let with = |name: &str, port| {
            found(&json!({"name": "x", "ports": [{"name": name, "containerPort": port}]}))
        };
        for name in ["epmd", "ekka", "dist", "erl-dist", "tcp-erl-dist", "erlang", "beam"] {
            assert_eq!(with(name, 9100), Evidence::Erlang, "{name}");
        }
        assert_eq!(with("x", 4369), Evidence::Erlang);
        assert_eq!(with("clustering", 25672), Evidence::Erlang);
        for name in ["http", "distributor", "overlay", "mqtt"] {
            assert_eq!(with(name, 9100), Evidence::None, "{name}");
        }
    }
}

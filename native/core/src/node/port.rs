//! The possible ports of a node, by the pod's spec. The handshake decides whether there is a node.

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use crate::pod::{container, settings};

/// Options of the VM before a port: a node without epmd listens on `-erl_epmd_port` and expects all others
/// there (OTP 23.1). The other one is of the application kernel.
const OPTIONS: [&str; 2] = ["-erl_epmd_port", "inet_dist_listen_min"];

/// Variables with a port.
const VARIABLES: [&str; 2] = ["ERL_DIST_PORT", "RABBITMQ_DIST_PORT"];

/// A node with one of these has no epmd.
const WITHOUT_EPMD: [&str; 2] = ["ERL_DIST_PORT", "-erl_epmd_port"];

/// The port that a product has if nobody sets another one: its name, how its own variables begin, and the port.
/// `EMQX` runs without epmd.
const PRODUCTS: [(&str, &str, u16); 4] = [
    ("RabbitMQ", "RABBITMQ_NODE", 25672),
    ("EMQX", "EMQX_NODE_", EMQX),
    ("VerneMQ", "DOCKER_VERNEMQ_", 9100),
    ("CouchDB", "COUCHDB_ERLANG_COOKIE", 9100),
];
const EMQX: u16 = 4370;

/// The ports, the most likely first.
#[must_use]
pub fn candidates(pod: &Pod, container: &Container) -> Vec<u16> {
    sources(pod, container).into_iter().map(|(port, _)| port).collect()
}

/// The same ports, each with its source, for people.
#[must_use]
pub fn sources(pod: &Pod, container: &Container) -> Vec<(u16, String)> {
    let source = |setting: &str| format!("{setting} of container {}", container.name);
    let variables = VARIABLES
        .iter()
        .filter_map(|name| Some((container::value_of(pod, container, name)?, source(name))));
    let arguments = container::arguments(pod, container);
    let options =
        OPTIONS.iter().filter_map(|option| Some((after(&arguments, option)?, source(option))));
    let texts = variables.chain(options);
    let named = container.ports.iter().flatten().filter(|port| is_distribution(port));
    let named = named.filter_map(|port| {
        let name = format!("port {}", port.name.as_deref().unwrap_or_default());
        Some((u16::try_from(port.container_port).ok()?, source(&name)))
    });
    let products = PRODUCTS.iter().filter(|(_, prefix, _)| has_variable(container, prefix));
    let products = products.map(|(product, _, port)| {
        (*port, format!("the default of {product} in container {}", container.name))
    });
    let ports = texts.filter_map(|(text, source)| Some((text.parse().ok()?, source)));
    let ports = ports.chain(named).chain(products);
    let mut candidates: Vec<(u16, String)> = Vec::new();
    for (port, source) in ports {
        if port != 0 && candidates.iter().all(|(other, _)| *other != port) {
            candidates.push((port, source));
        }
    }
    candidates
}

/// Whether the spec does not say that the node runs without epmd.
#[must_use]
pub fn may_have_epmd(pod: &Pod, container: &Container) -> bool {
    let arguments = container::arguments(pod, container);
    let starts_epmd = after(&arguments, "-start_epmd").as_deref() != Some("false");
    let has = |name: &&str| {
        after(&arguments, name).is_some() || container::value_of(pod, container, name).is_some()
    };
    let is_emqx = candidates(pod, container).contains(&EMQX);
    starts_epmd && !is_emqx && !WITHOUT_EPMD.iter().any(has)
}

fn after(arguments: &[String], option: &str) -> Option<String> {
    settings::option_value(arguments, &[option]).map(|(_, value)| value.to_owned())
}

fn has_variable(container: &Container, prefix: &str) -> bool {
    container.env.iter().flatten().any(|var| var.name.starts_with(prefix))
}

/// By its name only: we do not connect to other programs in the pod.
fn is_distribution(port: &ContainerPort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    ["dist", "erl", "beam", "ekka"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ports(container: &serde_json::Value) -> Vec<u16> {
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}}))
                .unwrap();
        candidates(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    fn env(name: &str, value: &str) -> serde_json::Value {
        serde_json::json!({"name": "app", "env": [
            {"name": "PORT", "value": "7000"}, {"name": name, "value": value},
        ]})
    }

    #[test]
    fn a_variable_or_an_option_has_the_port() {
        assert_eq!(ports(&env("ERL_DIST_PORT", "9100")), [9100]);
        assert_eq!(ports(&env("ERL_DIST_PORT", "$(PORT)")), [7000]);
        for name in ["ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS", "ELIXIR_ERL_OPTIONS"] {
            assert_eq!(ports(&env(name, "-start_epmd false -erl_epmd_port 9100")), [9100]);
        }
        assert_eq!(ports(&env("ERL_FLAGS", "-kernel inet_dist_listen_min 9100")), [9100]);
        assert_eq!(ports(&env("ERL_FLAGS", "-erl_epmd_port")), [0_u16; 0]);
        assert_eq!(ports(&env("ERL_FLAGS", "-erl_epmd_port $(NOBODY)")), [0_u16; 0]);
        assert_eq!(ports(&env("ERL_DIST_PORT", "99999")), [0_u16; 0]);
        assert_eq!(ports(&env("OTHER", "-erl_epmd_port 9100")), [0_u16; 0]);
        let arguments = serde_json::json!({"name": "app", "args": ["-erl_epmd_port", "$(PORT)"],
            "env": [{"name": "PORT", "value": "7000"}]});
        assert_eq!(ports(&arguments), [7000]);
        let line = serde_json::json!({"name": "app",
            "command": ["sh", "-c", "erl -erl_epmd_port 9100 -name app"]});
        assert_eq!(ports(&line), [9100]);
    }

    #[test]
    fn a_product_has_a_port_of_its_own() {
        for (name, port) in [
            ("RABBITMQ_NODENAME", 25672),
            ("RABBITMQ_NODE_NAME", 25672),
            ("EMQX_NODE__COOKIE", 4370),
            ("DOCKER_VERNEMQ_ACCEPT_EULA", 9100),
            ("COUCHDB_ERLANG_COOKIE", 9100),
        ] {
            assert_eq!(ports(&env(name, "x")), [port], "{name}");
        }
        assert_eq!(ports(&env("RABBITMQ_DIST_PORT", "4000")), [4000]);
        assert_eq!(ports(&env("RABBITMQ_HOST", "mq")), [0_u16; 0]);
        let ekka =
            serde_json::json!({"name": "emqx", "ports": [{"name": "ekka", "containerPort": 4370}]});
        assert_eq!(ports(&ekka), [4370]);
    }

    #[test]
    fn a_spec_may_say_that_there_is_no_epmd() {
        let may = |container: &serde_json::Value| {
            let pod: Pod =
                serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}}))
                    .unwrap();
            may_have_epmd(&pod, &pod.spec.as_ref().unwrap().containers[0])
        };
        for (name, value) in [
            ("ERL_DIST_PORT", "5210"),
            ("ERL_FLAGS", "-start_epmd false -erl_epmd_port 7777"),
            ("ERL_FLAGS", "-erl_epmd_port 7777"),
            ("EMQX_NODE__NAME", "emqx@h"),
        ] {
            assert!(!may(&env(name, value)), "{name}");
        }
        assert!(may(&env("ERL_FLAGS", "-kernel inet_dist_listen_min 9100")));
        assert!(may(&env("RABBITMQ_NODENAME", "rabbit@h")));
    }

    #[test]
    fn a_named_port_comes_after_those_and_others_are_left_alone() {
        let container = serde_json::json!({"name": "app", "ports": [
            {"name": "http", "containerPort": 4000},
            {"name": "epmd", "containerPort": 4369},
            {"name": "erl-dist", "containerPort": 9100},
            {"containerPort": 9101},
        ], "env": [{"name": "ERL_DIST_PORT", "value": "9200"}]});
        assert_eq!(ports(&container), [9200, 9100]);
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}}))
                .unwrap();
        let sources = sources(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        let sources: Vec<_> = sources.iter().map(|(_, source)| source.as_str()).collect();
        assert_eq!(sources, ["ERL_DIST_PORT of container app", "port erl-dist of container app"]);
    }
}

//! The possible ports of a node without epmd, by the pod's spec. The handshake decides whether there is a
//! node.

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use crate::pod::container;

/// Options of the VM before a port: a node without epmd listens on `-erl_epmd_port` and expects all others
/// there (OTP 23.1). The other one is of the application kernel.
const OPTIONS: [&str; 2] = ["-erl_epmd_port", "inet_dist_listen_min"];

/// The ports, the most likely first.
#[must_use]
pub fn candidates(pod: &Pod, container: &Container) -> Vec<u16> {
    sources(pod, container).into_iter().map(|(port, _)| port).collect()
}

/// The same ports, each with its source, for people.
#[must_use]
pub fn sources(pod: &Pod, container: &Container) -> Vec<(u16, String)> {
    let source = |setting: &str| format!("{setting} of container {}", container.name);
    let variable = container::value_of(pod, container, "ERL_DIST_PORT");
    let variable = variable.map(|text| (text, source("ERL_DIST_PORT")));
    let arguments = container::arguments(pod, container);
    let options =
        OPTIONS.iter().filter_map(|option| Some((after(&arguments, option)?, source(option))));
    let texts = variable.into_iter().chain(options);
    let named = container.ports.iter().flatten().filter(|port| is_distribution(port));
    let named = named.filter_map(|port| {
        let name = format!("port {}", port.name.as_deref().unwrap_or_default());
        Some((u16::try_from(port.container_port).ok()?, source(&name)))
    });
    let ports = texts.filter_map(|(text, source)| Some((text.parse().ok()?, source))).chain(named);
    let mut candidates: Vec<(u16, String)> = Vec::new();
    for (port, source) in ports {
        if port != 0 && candidates.iter().all(|(other, _)| *other != port) {
            candidates.push((port, source));
        }
    }
    candidates
}

fn after(arguments: &[String], option: &str) -> Option<String> {
    let at = arguments.iter().rposition(|argument| argument == option)?;
    arguments.get(at + 1).cloned()
}

/// By its name only: we do not connect to other programs in the pod.
fn is_distribution(port: &ContainerPort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    ["dist", "erl", "beam"].iter().any(|word| name.contains(word))
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

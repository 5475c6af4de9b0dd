//! Where a node without epmd may listen, as its pod's spec tells it. Each is a guess, and the
//! handshake is the judge.

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use crate::container;

/// Options of the VM that are followed by a port: `-erl_epmd_port` is what a node without epmd
/// listens on and believes of all others (OTP 23.1), the other is the application kernel's.
const OPTIONS: [&str; 2] = ["-erl_epmd_port", "inet_dist_listen_min"];

/// The ports, the likeliest first.
#[must_use]
pub fn told(pod: &Pod, container: &Container) -> Vec<u16> {
    sources(pod, container).into_iter().map(|(port, _)| port).collect()
}

/// The same, each with what tells it, in words.
#[must_use]
pub fn sources(pod: &Pod, container: &Container) -> Vec<(u16, String)> {
    let of = |what: &str| format!("{what} of container {}", container.name);
    let variable = container::value_of(pod, container, "ERL_DIST_PORT");
    let variable = variable.map(|text| (text, of("ERL_DIST_PORT")));
    let words = container::words(pod, container);
    let options = OPTIONS.iter().filter_map(|option| Some((after(&words, option)?, of(option))));
    let texts = variable.into_iter().chain(options);
    let named = container.ports.iter().flatten().filter(|port| is_distribution(port));
    let named = named.filter_map(|port| {
        let name = format!("port {}", port.name.as_deref().unwrap_or_default());
        Some((u16::try_from(port.container_port).ok()?, of(&name)))
    });
    let ports = texts.filter_map(|(text, source)| Some((text.parse().ok()?, source))).chain(named);
    let mut told: Vec<(u16, String)> = Vec::new();
    for (port, source) in ports {
        if port != 0 && told.iter().all(|(other, _)| *other != port) {
            told.push((port, source));
        }
    }
    told
}

fn after(words: &[String], option: &str) -> Option<String> {
    let at = words.iter().rposition(|word| word == option)?;
    words.get(at + 1).cloned()
}

/// By its name only: what else listens in a pod is not ours to talk to.
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
        told(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    fn env(name: &str, value: &str) -> serde_json::Value {
        serde_json::json!({"name": "app", "env": [
            {"name": "PORT", "value": "7000"}, {"name": name, "value": value},
        ]})
    }

    #[test]
    fn a_variable_or_an_option_tells_the_port() {
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
        let words = serde_json::json!({"name": "app", "args": ["-erl_epmd_port", "$(PORT)"],
            "env": [{"name": "PORT", "value": "7000"}]});
        assert_eq!(ports(&words), [7000]);
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
        let told = sources(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        let told: Vec<_> = told.iter().map(|(_, source)| source.as_str()).collect();
        assert_eq!(told, ["ERL_DIST_PORT of container app", "port erl-dist of container app"]);
    }
}

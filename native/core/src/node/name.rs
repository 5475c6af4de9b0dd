//! The name of a node by the pod's spec: from a variable of its product, or from the options of the VM, as the
//! kubelet expands them. It may be wrong, as the scripts of a release can set another one. The handshake decides.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    node_name,
    pod::{container, settings},
};

/// Variables with a whole name: of releases, `RabbitMQ` (operator and chart), `EMQX`, ejabberd, Livebook.
const VARIABLES: [&str; 8] = [
    "RELEASE_NODE",
    "RABBITMQ_NODENAME",
    "RABBITMQ_NODE_NAME",
    "EMQX_NODE__NAME",
    "EMQX_NODE_NAME",
    "ERLANG_NODE_ARG",
    "LIVEBOOK_NODE",
    "NODENAME",
];

/// The options of `erl`, and of `elixir` and `iex`.
const OPTIONS: [&str; 4] = ["-name", "-sname", "--name", "--sname"];

/// The name and its source for people, if the container has a valid name.
#[must_use]
pub fn source(pod: &Pod, container: &Container) -> Option<(String, String)> {
    let value = |name: &str| container::value_of(pod, container, name);
    let valid = |name: String| node_name::parse(name.as_bytes());
    let by_variable =
        || VARIABLES.iter().find_map(|name| Some((valid(value(name)?)?, (*name).to_owned())));
    let emqx = || {
        let name = value("EMQX_NAME").unwrap_or_else(|| "emqx".into());
        Some((valid(format!("{name}@{}", value("EMQX_HOST")?))?, "EMQX_HOST".to_owned()))
    };
    let by_option = || {
        let arguments = container::arguments(pod, container);
        let (option, name) = settings::option_value(&arguments, &OPTIONS)?;
        let full = if option.ends_with("sname") && !name.contains('@') {
            format!("{name}@{}", host_name(pod)?)
        } else {
            name.to_owned()
        };
        Some((valid(full)?, option.to_owned()))
    };
    by_variable().or_else(by_option).or_else(emqx)
}

/// The name alone.
#[must_use]
pub fn expected(pod: &Pod, container: &Container) -> Option<String> {
    source(pod, container).map(|(name, _)| name)
}

/// A short name without a host gets the name of the host up to its first dot.
fn host_name(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return None;
    }
    let name = spec.hostname.as_ref().or(pod.metadata.name.as_ref())?;
    Some(name.chars().take(63).take_while(|letter| *letter != '.').collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn found(container: &Value) -> Option<(String, String)> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "app-0", "namespace": "shop"},
            "spec": {"containers": [container]},
            "status": {"podIP": "10.1.2.3"},
        }))
        .unwrap();
        source(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    fn name(env: &Value) -> Option<String> {
        found(&json!({"name": "app", "env": env})).map(|(name, _)| name)
    }

    fn field(name: &str, path: &str) -> Value {
        json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
    }

    fn plain(name: &str, value: &str) -> Value {
        json!({"name": name, "value": value})
    }

    #[test]
    fn a_release_node_is_expanded_as_the_kubelet_does() {
        let ip = field("IP", "status.podIP");
        let pod = field("POD", "metadata.name");
        let case = |env: &[&Value]| name(&json!(env));

        assert_eq!(case(&[&plain("RELEASE_NODE", "app@h")]).unwrap(), "app@h");
        assert_eq!(case(&[&ip, &plain("RELEASE_NODE", "app@$(IP)")]).unwrap(), "app@10.1.2.3");
        let dns = plain("RELEASE_NODE", "app@$(POD).app.shop.svc");
        assert_eq!(case(&[&pod, &dns]).unwrap(), "app@app-0.app.shop.svc");
        // Defined later, unknown, not a name, not set.
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(IP)"), &ip]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(NODE)")]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app")]), None);
        assert_eq!(case(&[&ip]), None);
    }

    #[test]
    fn products_have_variables_of_their_own() {
        let rabbitmq = json!([
            field("MY_POD_NAME", "metadata.name"),
            field("MY_POD_NAMESPACE", "metadata.namespace"),
            plain("K8S_SERVICE_NAME", "mq-nodes"),
            plain(
                "RABBITMQ_NODENAME",
                "rabbit@$(MY_POD_NAME).$(K8S_SERVICE_NAME).$(MY_POD_NAMESPACE)"
            ),
        ]);
        assert_eq!(name(&rabbitmq).unwrap(), "rabbit@app-0.mq-nodes.shop");
        for variable in [
            "RABBITMQ_NODE_NAME",
            "EMQX_NODE__NAME",
            "ERLANG_NODE_ARG",
            "LIVEBOOK_NODE",
            "NODENAME",
        ] {
            let node = json!({"name": "app", "env": [plain(variable, "x@h")]});
            assert_eq!(found(&node).unwrap(), ("x@h".into(), variable.into()));
        }
        // References of references.
        let emqx = json!([
            field("POD", "metadata.name"),
            plain("DOMAIN", "emqx-headless.$(NS).svc"),
            field("NS", "metadata.namespace"),
            plain("HOST", "$(POD).emqx-headless"),
            plain("EMQX_HOST", "$(HOST).$(NS).svc"),
        ]);
        assert_eq!(name(&emqx).unwrap(), "emqx@app-0.emqx-headless.shop.svc");
        assert_eq!(
            name(&json!([plain("EMQX_NAME", "e"), plain("EMQX_HOST", "h")])).unwrap(),
            "e@h"
        );
    }

    #[test]
    fn an_option_of_the_vm_has_the_name() {
        let ip = field("IP", "status.podIP");
        for (option, expected) in [
            ("-name app@$(IP)", "app@10.1.2.3"),
            ("-name app@$IP", "app@10.1.2.3"),
            ("--name \"app@${IP}\"", "app@10.1.2.3"),
            ("-sname app@h", "app@h"),
            ("-sname app", "app@app-0"),
        ] {
            let line = format!("exec erl -noinput {option} -setcookie x");
            let container = json!({"name": "app", "args": ["-c", line], "env": [ip]});
            let (name, source) = found(&container).unwrap();
            assert_eq!((name.as_str(), option.starts_with(&source)), (expected, true), "{option}");
            let flags = json!([ip, plain("ERL_FLAGS", option.trim_start_matches("--"))]);
            if option.contains("$(") {
                assert_eq!(super::tests::name(&flags).unwrap(), expected);
            }
        }
        for option in ["-name couchdb", "-name app@$(hostname -i)", "-name app@$(NODE)", "-name"] {
            assert_eq!(name(&json!([plain("ERL_FLAGS", option)])), None, "{option}");
        }
    }
}

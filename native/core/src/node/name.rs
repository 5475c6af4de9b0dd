//! A node's name where the pod's spec tells it: `RELEASE_NODE`, as the kubelet expands it. It may be
//! wrong, as a release's own scripts can set another one; the handshake is the judge.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::handshake;

/// The name, if the container's environment has one that a node can have.
#[must_use]
pub fn expected(pod: &Pod, container: &Container) -> Option<String> {
    let name = value_of(pod, container, "RELEASE_NODE")?;
    handshake::checked_name(name.as_bytes()).ok()
}

fn value_of(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    // As the kubelet has it: the last one of a name counts, and sees those before it.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(env: &serde_json::Value) -> Option<String> {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "app-0", "namespace": "shop"},
            "spec": {"containers": [{"name": "app", "env": env}]},
            "status": {"podIP": "10.1.2.3"},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        expected(&pod, container)
    }

    #[test]
    fn a_release_node_is_expanded_as_the_kubelet_does() {
        let field = |name, path| serde_json::json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let plain = |name, value| serde_json::json!({"name": name, "value": value});
        let ip = field("IP", "status.podIP");
        let pod = field("POD", "metadata.name");
        let case = |env: &[&serde_json::Value]| name(&serde_json::json!(env));

        assert_eq!(case(&[&plain("RELEASE_NODE", "app@h")]).unwrap(), "app@h");
        assert_eq!(case(&[&ip, &plain("RELEASE_NODE", "app@$(IP)")]).unwrap(), "app@10.1.2.3");
        let dns = plain("RELEASE_NODE", "app@$(POD).app.shop.svc");
        assert_eq!(case(&[&pod, &dns]).unwrap(), "app@app-0.app.shop.svc");
        // Not there yet when it is expanded, not known, not a name, not there at all.
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(IP)"), &ip]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(NODE)")]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app")]), None);
        assert_eq!(case(&[&ip]), None);
    }
}

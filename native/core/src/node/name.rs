//! The name of a node by the pod's spec: `RELEASE_NODE`, as the kubelet expands it. It may be wrong, as the
//! scripts of a release can set another one. The handshake decides.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{node_name, pod::container};

/// The name, if the container's environment has a valid one.
#[must_use]
pub fn expected(pod: &Pod, container: &Container) -> Option<String> {
    let name = container::value_of(pod, container, "RELEASE_NODE")?;
    node_name::parse(name.as_bytes())
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
        // Defined later, unknown, not a name, not set.
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(IP)"), &ip]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app@$(NODE)")]), None);
        assert_eq!(case(&[&plain("RELEASE_NODE", "app")]), None);
        assert_eq!(case(&[&ip]), None);
    }
}

//! The columns STATUS, READY and RESTARTS, as kubectl computes them.
//!
//! <https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go>, `printPod`

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus,
};

/// What these columns show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub text: String,
    pub ready: usize,
    pub total: usize,
    pub restarts: i32,
}

/// The columns of a pod.
pub(super) fn of(pod: &Pod) -> Status {
    let spec = pod.spec.as_ref();
    let inits = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let containers = spec.map_or(0, |spec| spec.containers.len());
    let total = containers + inits.iter().filter(|container| is_sidecar(container)).count();
    let Some(api) = &pod.status else {
        return Status { text: "Unknown".into(), total, ..Status::default() };
    };

    let mut status = Status { text: of_phase(api), total, ..Status::default() };
    let of_sidecars = initialize(&mut status, inits, api);
    if of_sidecars.is_none() || has_condition(api, "Initialized") {
        status.restarts = of_sidecars.unwrap_or(status.restarts);
        run(&mut status, api);
    }
    terminate(&mut status, pod, api);
    status
}

fn of_phase(api: &PodStatus) -> String {
    let gated = |reason: &Option<String>| reason.as_deref() == Some("SchedulingGated");
    let conditions = api.conditions.iter().flatten();
    let condition = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && gated(&condition.reason))
        .find_map(|condition| condition.reason.clone());
    let reason = api.reason.clone().filter(|reason| !reason.is_empty());
    let phase = || api.phase.clone().unwrap_or_else(|| "Unknown".into());
    condition.or(reason).unwrap_or_else(phase)
}

/// A sidecar is an init container that goes on running.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The restarts of sidecars, while init containers run; `None` if they are done.
fn initialize(status: &mut Status, inits: &[Container], api: &PodStatus) -> Option<i32> {
    let mut of_sidecars = 0_i32;
    for (at, container) in api.init_container_statuses.iter().flatten().enumerate() {
        let sidecar = inits.iter().any(|init| init.name == container.name && is_sidecar(init));
        status.restarts = status.restarts.saturating_add(container.restart_count);
        let restarts = if sidecar { container.restart_count } else { 0 };
        of_sidecars = of_sidecars.saturating_add(restarts);
        let state = container.state.clone().unwrap_or_default();
        if state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code == 0) {
            continue;
        }
        if sidecar && container.started == Some(true) {
            status.ready += usize::from(container.ready);
            continue;
        }
        let waiting = waiting_reason(&state).filter(|reason| reason != "PodInitializing");
        let reason = state.terminated.as_ref().map(end).or(waiting);
        let progress = || format!("{at}/{}", inits.len());
        status.text = format!("Init:{}", reason.unwrap_or_else(progress));
        return Some(of_sidecars);
    }
    status.restarts = of_sidecars;
    None
}

fn run(status: &mut Status, api: &PodStatus) {
    let mut is_running = false;
    for container in api.container_statuses.iter().flatten().rev() {
        status.restarts = status.restarts.saturating_add(container.restart_count);
        let state = container.state.clone().unwrap_or_default();
        if let Some(reason) = waiting_reason(&state).or(state.terminated.as_ref().map(end)) {
            status.text = reason;
        } else if is_ready_and_running(container) {
            is_running = true;
            status.ready += 1;
        }
    }
    if status.text == "Completed" && is_running {
        status.text = if has_condition(api, "Ready") { "Running" } else { "NotReady" }.into();
    }
}

fn terminate(status: &mut Status, pod: &Pod, api: &PodStatus) {
    let ended = matches!(api.phase.as_deref(), Some("Succeeded" | "Failed"));
    if pod.metadata.deletion_timestamp.is_none() {
    } else if api.reason.as_deref() == Some("NodeLost") {
        status.text = "Unknown".into();
    } else if !ended {
        status.text = "Terminating".into();
    }
}

fn waiting_reason(state: &ContainerState) -> Option<String> {
    state.waiting.as_ref()?.reason.clone().filter(|reason| !reason.is_empty())
}

fn end(terminated: &ContainerStateTerminated) -> String {
    let reason = terminated.reason.clone().filter(|reason| !reason.is_empty());
    reason.unwrap_or_else(|| match terminated.signal {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", terminated.exit_code),
    })
}

fn is_ready_and_running(container: &ContainerStatus) -> bool {
    container.ready && container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_condition(api: &PodStatus, kind: &str) -> bool {
    let mut conditions = api.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

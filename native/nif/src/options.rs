//! Options as Elixir hands them over: checked there, so a wrong type here is `ArgumentError`.

use std::time::Duration;

use k8s_connect_core::{
    attach::Wish,
    config::{Selection, Source},
};
use rustler::NifMap;

/// How to reach an API server.
#[derive(NifMap)]
pub struct ApiOptions {
    kubeconfig: Option<String>,
    kubeconfig_env: Option<String>,
    home: Option<String>,
    context: Option<String>,
    namespace: Option<String>,
    timeout_ms: u64,
}

impl ApiOptions {
    pub fn into_parts(self) -> (Source, Selection, Duration) {
        let source = Source {
            file: self.kubeconfig.map(Into::into),
            list: self.kubeconfig_env.map(Into::into),
            home: self.home.map(Into::into),
        };
        let selection = Selection { context: self.context, namespace: self.namespace };
        (source, selection, Duration::from_millis(self.timeout_ms))
    }
}

/// What to attach to, from Elixir.
#[derive(NifMap)]
pub struct AttachOptions {
    target: Option<String>,
    labels: Option<String>,
    container: Option<String>,
    node: Option<String>,
    cookie: bool,
    trust: bool,
}

impl From<AttachOptions> for Wish {
    fn from(options: AttachOptions) -> Self {
        let AttachOptions { target, labels, container, node, cookie, trust } = options;
        Self { target, labels, container, node, cookie, trust }
    }
}

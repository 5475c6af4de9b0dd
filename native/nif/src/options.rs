//! Options as Elixir hands them over: checked there, so a wrong type here is `ArgumentError`.

use std::{collections::HashMap, time::Duration};

use k8s_connect_core::{
    attach::{self, Wish},
    config::{Selection, Source},
    link,
};
use rustler::{NifMap, NifUnitEnum};

/// How to reach an API server.
#[derive(NifMap)]
pub struct ApiOptions {
    kubeconfig: Option<String>,
    kubeconfig_env: Option<String>,
    home: Option<String>,
    context: Option<String>,
    namespace: Option<String>,
    timeout_ms: u64,
    /// The folder of a pod's service account.
    service_account: Option<String>,
    /// All variables that a program started now would get.
    environment: HashMap<String, String>,
    /// Whether a plugin may have the terminal.
    interactive: bool,
}

impl ApiOptions {
    pub fn into_parts(self) -> (Source, Selection, Duration) {
        let source = Source {
            file: self.kubeconfig.map(Into::into),
            list: self.kubeconfig_env.map(Into::into),
            home: self.home.map(Into::into),
            service_account: self.service_account.map(Into::into),
            environment: self.environment.into_iter().collect(),
            interactive: self.interactive,
        };
        let selection = Selection { context: self.context, namespace: self.namespace };
        (source, selection, Duration::from_millis(self.timeout_ms))
    }
}

/// What they lead to.
#[derive(NifMap)]
pub struct Place {
    pub context: String,
    pub namespace: String,
}

/// Where to look for the cookie.
#[derive(NifUnitEnum)]
pub enum CookieFrom {
    Nowhere,
    Spec,
    Exec,
}

impl From<CookieFrom> for attach::CookieFrom {
    fn from(from: CookieFrom) -> Self {
        match from {
            CookieFrom::Nowhere => Self::Nowhere,
            CookieFrom::Spec => Self::Spec,
            CookieFrom::Exec => Self::Process,
        }
    }
}

/// What to speak on the way to the pod.
#[derive(NifUnitEnum)]
pub enum Protocol {
    Auto,
    Spdy,
    Websocket,
    V4,
}

impl From<Protocol> for link::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Auto,
            Protocol::Spdy => Self::Spdy,
            Protocol::Websocket => Self::WebSocket,
            Protocol::V4 => Self::V4,
        }
    }
}

/// What to attach to, from Elixir.
#[derive(NifMap)]
pub struct AttachOptions {
    target: Option<String>,
    labels: Option<String>,
    container: Option<String>,
    node: Option<String>,
    port: Option<u16>,
    cookie: CookieFrom,
    trust: bool,
    /// Whether the caller wants to see what the protocols do.
    pub verbose: bool,
    protocol: Protocol,
    wait: bool,
    uid: Option<String>,
    controller: Option<(String, String)>,
}

impl From<AttachOptions> for Wish {
    fn from(options: AttachOptions) -> Self {
        let AttachOptions {
            target,
            labels,
            container,
            node,
            port,
            cookie,
            trust,
            protocol,
            verbose: _,
            wait,
            uid,
            controller,
        } = options;
        let (cookie, protocol) = (cookie.into(), protocol.into());
        Self {
            target,
            labels,
            container,
            node,
            port,
            cookie,
            trust,
            protocol,
            wait,
            uid,
            controller,
        }
    }
}

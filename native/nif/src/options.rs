//! Options from Elixir. They are validated there, so a wrong type here is `ArgumentError`.

use std::{collections::HashMap, time::Duration};

use k8s_connect_core::{
    access::kubeconfig::{Selection, Source},
    attach::{self, AttachRequest, TlsFiles},
    streaming,
};
use rustler::{NifMap, NifUnitEnum};

/// How to connect to an API server.
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
    /// The environment of the VM.
    environment: HashMap<String, String>,
    /// Whether a plugin may use the terminal.
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

/// The resolved context and namespace.
#[derive(NifMap)]
pub struct Resolved {
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

/// The protocol of the connection to the pod.
#[derive(NifUnitEnum)]
pub enum Protocol {
    Auto,
    Spdy,
    Websocket,
    V4,
}

impl From<Protocol> for streaming::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Auto,
            Protocol::Spdy => Self::Spdy,
            Protocol::Websocket => Self::WebSocket,
            Protocol::V4 => Self::V4,
        }
    }
}

/// What to attach to.
#[derive(NifMap)]
pub struct AttachOptions {
    target: Option<String>,
    labels: Option<String>,
    container: Option<String>,
    node: Option<String>,
    port: Option<u16>,
    cookie: CookieFrom,
    assume_name: bool,
    /// Whether to trace the protocols.
    pub verbose: bool,
    protocol: Protocol,
    /// The authority, and the certificate with its key.
    tls: Option<(String, Option<(String, String)>)>,
    wait: bool,
    uid: Option<String>,
    controller: Option<(String, String)>,
}

impl From<AttachOptions> for AttachRequest {
    fn from(options: AttachOptions) -> Self {
        let AttachOptions {
            target,
            labels,
            container,
            node,
            port,
            cookie,
            assume_name,
            protocol,
            verbose: _,
            tls,
            wait,
            uid,
            controller,
        } = options;
        let tls = tls.map(|(authority, identity)| TlsFiles {
            authority: authority.into(),
            identity: identity.map(|(certificate, key)| (certificate.into(), key.into())),
        });
        let (cookie, protocol) = (cookie.into(), protocol.into());
        Self {
            target,
            labels,
            container,
            node,
            port,
            cookie,
            assume_name,
            protocol,
            tls,
            wait,
            uid,
            controller,
        }
    }
}

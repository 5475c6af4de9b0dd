//! A port-forward with the core of `k8s_connect`, as `route: :kernel` does it, to any port.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use k8s_connect_core::{
    access::{
        cluster::Cluster,
        kubeconfig::{Selection, Source, resolve},
    },
    attach::{AttachRequest, Progress, attach},
    endpoint::listener::{Listener, Route},
    port_forward::PortForward,
};

use crate::{Result, print_forwarding};

const TIMEOUT: Duration = Duration::from_secs(15);

pub async fn run(pod: &str, ports: &[&str]) -> Result {
    let connection = connect(pod).await?;
    let mut listeners = Vec::new();
    for to in ports {
        let route = Route {
            connection: connection.clone(),
            connector: None,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: to.parse()?,
            names: vec![],
            // Not a distribution connection, so no handshake flag must be changed.
            visible: true,
            guarding: None,
            printer: None,
            cookies: None,
        };
        let listener = Listener::new(route)?;
        // The first redirect is for epmd.
        print_forwarding(listener.redirects()[1].1, to);
        listeners.push(listener);
    }
    pending().await
}

pub async fn connect(pod: &str) -> Result<PortForward> {
    let source = Source {
        list: std::env::var_os("KUBECONFIG"),
        home: std::env::home_dir(),
        ..Source::default()
    };
    let cluster = Cluster::new(resolve(&source, Selection::default()).await?, TIMEOUT)?;
    let request = AttachRequest { target: Some(pod.into()), ..AttachRequest::default() };
    Ok(attach(&cluster, &request, &Progress::new(|_| {})).await?.connection)
}

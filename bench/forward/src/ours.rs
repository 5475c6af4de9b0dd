//! A forward by the library's own core: the way of `route: :kernel`, to any port.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use k8s_connect_core::{
    attach::{Steps, Wish, attach},
    cluster::Cluster,
    config::{Selection, Source, resolve},
    outlet::listener::{Listener, Route},
};

use crate::{Done, forwarding};

const TIMEOUT: Duration = Duration::from_secs(15);

pub async fn run(pod: &str, ports: &[&str]) -> Done {
    let source = Source {
        list: std::env::var_os("KUBECONFIG"),
        home: std::env::home_dir(),
        ..Source::default()
    };
    let cluster = Cluster::new(resolve(&source, Selection::default()).await?, TIMEOUT)?;
    let wish = Wish { target: Some(pod.into()), ..Wish::default() };
    let link = attach(&cluster, &wish, &Steps::new(|_| {})).await?.link;

    let mut listeners = Vec::new();
    for to in ports {
        let route = Route {
            links: None,
            link: link.clone(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: to.parse()?,
            names: vec![],
            // These are not the distribution's connections: nothing in them is to be changed.
            visible: true,
        };
        let listener = Listener::new(route)?;
        // The first is an epmd's.
        forwarding(listener.redirects()[1].1, to);
        listeners.push(listener);
    }
    pending().await
}

//! A port-forward with kube-rs, as an application would write it: one `Api::portforward` per connection.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, print_forwarding};

pub async fn run(pod: &str, ports: &[&str]) -> Result {
    let pods: Api<Pod> = Api::default_namespaced(Client::try_default().await?);
    let mut tasks = Vec::new();
    for to in ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        print_forwarding(listener.local_addr()?.port(), to);
        tasks.push(tokio::spawn(serve(listener, pods.clone(), pod.to_owned(), to.parse()?)));
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, pods: Api<Pod>, pod: String, port: u16) {
    while let Ok((client, _)) = listener.accept().await {
        let (pods, pod) = (pods.clone(), pod.clone());
        tokio::spawn(async move {
            if let Err(error) = forward(client, &pods, &pod, port).await {
                eprintln!("port {port}: {error}");
            }
        });
    }
}

async fn forward(mut client: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> Result {
    client.set_nodelay(true)?;
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut stream = forwarder.take_stream(port).ok_or("no stream")?;
    tokio::io::copy_bidirectional(&mut client, &mut stream).await?;
    Ok(())
}

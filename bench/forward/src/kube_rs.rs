//! A forward by kube-rs: what a program has that calls `Api::portforward` for each connection.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::net::{TcpListener, TcpStream};

use crate::{Done, forwarding};

pub async fn run(pod: &str, ports: &[&str]) -> Done {
    let pods: Api<Pod> = Api::default_namespaced(Client::try_default().await?);
    let mut tasks = Vec::new();
    for to in ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        forwarding(listener.local_addr()?.port(), to);
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
            if let Err(problem) = carry(client, &pods, &pod, port).await {
                eprintln!("port {port}: {problem}");
            }
        });
    }
}

async fn carry(mut client: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> Done {
    client.set_nodelay(true)?;
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut stream = forwarder.take_stream(port).ok_or("no stream")?;
    tokio::io::copy_bidirectional(&mut client, &mut stream).await?;
    Ok(())
}

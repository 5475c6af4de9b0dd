//! usage:
//!   `bench_forward ours|kube POD PORT...`   forwards free local ports to ports of the pod
//!   `bench_forward load HOST:PORT PID MS`   measures a port-forward, see `load`
//!   `bench_forward limit POD PORT MS`       measures the library without a BEAM and without a relay, see `limit`
//!
//! A port-forward prints the same lines as `kubectl port-forward` and runs until it is killed.

mod kube_rs;
mod limit;
mod load;
mod ours;

use std::{error::Error, net::TcpStream};

const USAGE: &str = "invalid arguments. usage: bench_forward ours|kube POD PORT... | load HOST:PORT PID MS | limit POD PORT MS";

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["ours", pod, ref ports @ ..] if !ports.is_empty() => on_two_threads(ours::run(pod, ports)),
        ["kube", pod, ref ports @ ..] if !ports.is_empty() => {
            on_two_threads(kube_rs::run(pod, ports))
        }
        ["load", address, pid, ms] => {
            let connect = || {
                let pod = TcpStream::connect(address)?;
                pod.set_nodelay(true)?;
                Ok(pod)
            };
            load::run(connect, pid, ms.parse()?)
        }
        ["limit", pod, port, ms] => limit::run(pod, port.parse()?, ms.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// The library also has two worker threads.
fn on_two_threads(work: impl Future<Output = Result>) -> Result {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

fn print_forwarding(from: u16, to: &str) {
    println!("Forwarding from 127.0.0.1:{from} -> {to}");
}

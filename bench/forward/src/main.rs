//! usage:
//!   `bench_forward ours|kube POD PORT...`   forwards free ports of the loopback to the pod's
//!   `bench_forward load HOST:PORT PID MS`   measures one: see `load`
//!
//! A forward says what it does in the words of `kubectl port-forward`, and ends with its process.

mod kube_rs;
mod load;
mod ours;

use std::error::Error;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ours", pod, ref ports @ ..] if !ports.is_empty() => on_two_threads(ours::run(pod, ports)),
        ["kube", pod, ref ports @ ..] if !ports.is_empty() => {
            on_two_threads(kube_rs::run(pod, ports))
        }
        ["load", address, process, ms] => load::run(address.parse()?, process, ms.parse()?),
        _ => Err("unknown words; main.rs has the known ones".into()),
    }
}

/// As many as the library has.
fn on_two_threads(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

fn forwarding(from: u16, to: &str) {
    println!("Forwarding from 127.0.0.1:{from} -> {to}");
}

//! What a client has of a forward to `Bench.Pod` (bench/pod.exs), and what it costs the forwarding
//! process: round trips, then bytes from the pod and to it for a time. Prints a line a figure.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::Done;

/// The pod's pieces; the last one begins with a 1.
const PIECE: usize = 64 * 1024;
const SMALL: usize = 64;
/// Of the kernel's clock ticks, in which it tells CPU time.
const MS_PER_TICK: u64 = 10;

/// `process` is the forward's id, and 0 where there is none.
pub fn run(address: SocketAddr, process: &str, ms: u32) -> Done {
    echo(address, Duration::from_millis(ms.into()))?;
    bulk("down", process, || down(address, ms))?;
    bulk("up", process, || up(address, Duration::from_millis(ms.into())))
}

fn echo(address: SocketAddr, time: Duration) -> Done {
    let mut pod = connect(address, b'e', 0)?;
    let mut bytes = [0; SMALL];
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time || times.len() < 10 {
        let sent = Instant::now();
        pod.write_all(&bytes)?;
        pod.read_exact(&mut bytes)?;
        times.push(sent.elapsed());
    }
    times.sort();
    for (name, of_hundred) in [("p50", 50), ("p99", 99)] {
        let time = times[(times.len() - 1) * of_hundred / 100];
        println!("raw_64_{name}_us {:.1}", time.as_secs_f64() * 1e6);
    }
    Ok(())
}

/// Answers how many bytes have come.
fn down(address: SocketAddr, ms: u32) -> std::io::Result<usize> {
    let mut pod = connect(address, b'd', ms)?;
    let mut piece = vec![0; PIECE];
    let mut count = 0;
    while piece[0] == 0 {
        pod.read_exact(&mut piece)?;
        count += PIECE;
    }
    Ok(count)
}

/// Answers how many bytes have arrived in the pod.
fn up(address: SocketAddr, time: Duration) -> std::io::Result<usize> {
    let mut pod = connect(address, b'u', 0)?;
    let mut piece = vec![0; PIECE];
    let mut count = 0;
    let start = Instant::now();
    while piece[0] == 0 {
        piece[0] = u8::from(start.elapsed() >= time);
        pod.write_all(&piece)?;
        count += PIECE;
    }
    pod.read_exact(&mut [0])?;
    Ok(count)
}

fn connect(address: SocketAddr, what: u8, ms: u32) -> std::io::Result<TcpStream> {
    let mut pod = TcpStream::connect(address)?;
    pod.set_nodelay(true)?;
    let mut order = vec![what];
    order.extend(ms.to_be_bytes());
    pod.write_all(&order)?;
    Ok(pod)
}

fn bulk(way: &str, process: &str, transfer: impl FnOnce() -> std::io::Result<usize>) -> Done {
    let (start, before) = (Instant::now(), cpu_ms(process));
    let bytes = transfer()?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), cpu_ms(process));
    #[allow(clippy::cast_precision_loss)]
    let megabytes = bytes as f64 / 1e6;
    println!("raw_{way}_mb_per_s {:.2}", megabytes / seconds);
    if let (Some(before), Some(after)) = (before, after) {
        #[allow(clippy::cast_precision_loss)]
        let cpu = (after - before) as f64;
        println!("raw_{way}_cpu_ms_per_mb {:.4}", cpu / megabytes);
    }
    Ok(())
}

/// User and system time of all threads.
fn cpu_ms(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name may have blanks; it ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * MS_PER_TICK)
}

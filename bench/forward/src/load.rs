//! Measures connections to `Bench.Pod` (bench/pod.exs): round-trip times, then throughput in each
//! direction and the CPU time of the forwarding process. Prints one metric per line.

use std::{
    fs,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use crate::Result;

/// `Bench.Pod` sends and receives chunks of this size. The last chunk begins with a 1.
const CHUNK_SIZE: usize = 64 * 1024;
const MESSAGE_SIZE: usize = 64;
/// `/proc/PID/stat` counts CPU time in clock ticks (`USER_HZ`).
const MS_PER_TICK: u64 = 10;

/// `connect` opens a connection to the pod. `pid` is the forwarding process, or 0 without one.
pub fn run<P: Read + Write>(connect: impl Fn() -> io::Result<P>, pid: &str, ms: u32) -> Result {
    let order = |command: u8, ms: u32| {
        let mut pod = connect()?;
        let mut request = vec![command];
        request.extend(ms.to_be_bytes());
        pod.write_all(&request)?;
        io::Result::Ok(pod)
    };
    let time = Duration::from_millis(ms.into());
    echo(order(b'e', 0)?, time)?;
    bulk("down", pid, || down(order(b'd', ms)?))?;
    bulk("up", pid, || up(order(b'u', 0)?, time))
}

fn echo(mut pod: impl Read + Write, time: Duration) -> Result {
    let mut bytes = [0; MESSAGE_SIZE];
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time || times.len() < 10 {
        let sent = Instant::now();
        pod.write_all(&bytes)?;
        pod.read_exact(&mut bytes)?;
        times.push(sent.elapsed());
    }
    times.sort();
    for (name, percentile) in [("p50", 50), ("p99", 99)] {
        let time = times[(times.len() - 1) * percentile / 100];
        println!("raw_64_{name}_us {:.1}", time.as_secs_f64() * 1e6);
    }
    Ok(())
}

/// Returns the number of bytes received.
fn down(mut pod: impl Read) -> io::Result<usize> {
    let mut chunk = vec![0; CHUNK_SIZE];
    let mut count = 0;
    while chunk[0] == 0 {
        pod.read_exact(&mut chunk)?;
        count += CHUNK_SIZE;
    }
    Ok(count)
}

/// Returns the number of bytes that the pod has received.
fn up(mut pod: impl Read + Write, time: Duration) -> io::Result<usize> {
    let mut chunk = vec![0; CHUNK_SIZE];
    let mut count = 0;
    let start = Instant::now();
    while chunk[0] == 0 {
        chunk[0] = u8::from(start.elapsed() >= time);
        pod.write_all(&chunk)?;
        count += CHUNK_SIZE;
    }
    pod.read_exact(&mut [0])?;
    Ok(count)
}

fn bulk(direction: &str, pid: &str, transfer: impl FnOnce() -> io::Result<usize>) -> Result {
    let (start, before) = (Instant::now(), cpu_ms(pid));
    let bytes = transfer()?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), cpu_ms(pid));
    #[allow(clippy::cast_precision_loss)]
    let megabytes = bytes as f64 / 1e6;
    println!("raw_{direction}_mb_per_s {:.2}", megabytes / seconds);
    if let (Some(before), Some(after)) = (before, after) {
        #[allow(clippy::cast_precision_loss)]
        let cpu = (after - before) as f64;
        println!("raw_{direction}_cpu_ms_per_mb {:.4}", cpu / megabytes);
    }
    Ok(())
}

/// User and system time of all threads, in milliseconds.
fn cpu_ms(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program name may contain spaces and parentheses. It ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * MS_PER_TICK)
}

//! The core of `k8s_connect` in the thread that measures, without a BEAM, a guard and a local socket: what is left is the
//! server, TLS and the frames of the protocol.

use std::{
    io::{self, Read, Write},
    rc::Rc,
};

use bytes::{Buf, Bytes};
use k8s_connect_core::streaming::Stream;
use tokio::runtime::{Builder, Runtime};

use crate::{Result, load, ours};

pub fn run(pod: &str, port: u16, ms: u32) -> Result {
    let runtime = Rc::new(Builder::new_current_thread().enable_all().build()?);
    let forward = runtime.block_on(ours::connect(pod))?;
    let connect = || {
        let stream =
            runtime.block_on(forward.open(port, Bytes::new())).map_err(io::Error::other)?;
        Ok(Connection { runtime: runtime.clone(), stream, rest: Bytes::new() })
    };
    load::run(connect, &std::process::id().to_string(), ms)
}

/// A stream to the pod, whose tasks run while it is read or written.
struct Connection {
    runtime: Rc<Runtime>,
    stream: Stream,
    /// Bytes that have arrived and were not read.
    rest: Bytes,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let read = self.runtime.block_on(self.stream.read()).map_err(io::Error::other)?;
            self.rest = read.unwrap_or_default();
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let writer = self.stream.writer();
        if self.runtime.block_on(writer.write(Bytes::copy_from_slice(bytes))) {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! SOCKS5: RFC 1928, and the name and password of RFC 1929. Names are the proxy's to look up.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Error, Proxy};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

pub(super) async fn through<S>(
    stream: &mut S,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    enter(stream, proxy).await?;
    let mut request = vec![VERSION, CONNECT, 0];
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(3);
            push_text(&mut request, host);
        }
    }
    request.extend(port.to_be_bytes());
    send(stream, proxy, &request).await?;

    let [version, reply, _, kind] = receive(stream, proxy).await?;
    if version != VERSION {
        return Err(strange(proxy, version));
    }
    let server = format!("{host}:{port}");
    match reply {
        0 => skip_address(stream, proxy, kind).await,
        2 => Err(proxy.refused(server, "not allowed by its rules".into())),
        3 => Err(proxy.cannot_reach(server, "no route to the network".into())),
        4 => Err(proxy.cannot_reach(server, "no such host, or no route to it".into())),
        5 => Err(proxy.cannot_reach(server, "connection refused".into())),
        6 => Err(proxy.cannot_reach(server, "timed out on the way".into())),
        _ => Err(proxy.cannot_reach(server, format!("SOCKS error {reply}"))),
    }
}

/// Agrees on how to log in, and does.
async fn enter<S>(stream: &mut S, proxy: &Proxy) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let methods: &[u8] = match proxy.login {
        Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    send(stream, proxy, methods).await?;
    let [version, method] = receive(stream, proxy).await?;
    if version != VERSION {
        return Err(strange(proxy, version));
    }
    match (method, &proxy.login) {
        (NO_LOGIN, _) => Ok(()),
        (PASSWORD, Some((name, password))) => {
            let mut request = vec![1];
            push_text(&mut request, name);
            push_text(&mut request, password);
            send(stream, proxy, &request).await?;
            match receive(stream, proxy).await? {
                [_, 0] => Ok(()),
                _ => Err(proxy.not_let_in()),
            }
        }
        _ => Err(proxy.not_let_in()),
    }
}

/// What follows is the server's already: nothing may be left of the proxy's own answer.
async fn skip_address<S>(stream: &mut S, proxy: &Proxy, kind: u8) -> Result<(), Error>
where
    S: AsyncRead + Unpin,
{
    let length = match kind {
        1 => 4,
        4 => 16,
        _ => {
            let [length] = receive(stream, proxy).await?;
            usize::from(length)
        }
    };
    let mut rest = vec![0; length + 2];
    match stream.read_exact(&mut rest).await {
        Ok(_) => Ok(()),
        Err(error) => Err(ended(proxy, &error)),
    }
}

/// A text has at most 255 bytes; a longer one is cut, and then not the right one.
fn push_text(request: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    request.extend(u8::try_from(text.len()));
    request.extend(text);
}

async fn send<S>(stream: &mut S, proxy: &Proxy, bytes: &[u8]) -> Result<(), Error>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(bytes).await.map_err(|error| ended(proxy, &error))
}

async fn receive<S, const N: usize>(stream: &mut S, proxy: &Proxy) -> Result<[u8; N], Error>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = [0; N];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ended(proxy, &error)),
    }
}

fn ended(proxy: &Proxy, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            proxy.not_a_proxy("it closed the connection in the middle of SOCKS5".into())
        }
        _ => proxy.unreachable(error.to_string()),
    }
}

fn strange(proxy: &Proxy, version: u8) -> Error {
    proxy.not_a_proxy(format!("it answers SOCKS5 with a first byte of {version}"))
}

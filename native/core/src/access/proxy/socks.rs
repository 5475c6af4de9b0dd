//! SOCKS5: RFC 1928, and the user name and password of RFC 1929. The proxy resolves names.

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
    authenticate(stream, proxy).await?;
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
        return Err(wrong_version(proxy, version));
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

/// Agrees on an authentication method and authenticates.
async fn authenticate<S>(stream: &mut S, proxy: &Proxy) -> Result<(), Error>
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
        return Err(wrong_version(proxy, version));
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
                _ => Err(proxy.rejects_login()),
            }
        }
        _ => Err(proxy.rejects_login()),
    }
}

/// The next byte is the server's, so all of the proxy's answer must be read.
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
        Err(error) => Err(connection_error(proxy, &error)),
    }
}

/// A text has at most 255 bytes. The proxy rejects a longer one, which is cut.
fn push_text(request: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    request.extend(u8::try_from(text.len()));
    request.extend(text);
}

async fn send<S>(stream: &mut S, proxy: &Proxy, bytes: &[u8]) -> Result<(), Error>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(bytes).await.map_err(|error| connection_error(proxy, &error))
}

async fn receive<S, const N: usize>(stream: &mut S, proxy: &Proxy) -> Result<[u8; N], Error>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = [0; N];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) => Err(connection_error(proxy, &error)),
    }
}

fn connection_error(proxy: &Proxy, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            proxy.invalid_answer("it closed the connection in the middle of SOCKS5".into())
        }
        _ => proxy.unreachable(error.to_string()),
    }
}

fn wrong_version(proxy: &Proxy, version: u8) -> Error {
    proxy.invalid_answer(format!("it answers SOCKS5 with a first byte of {version}"))
}

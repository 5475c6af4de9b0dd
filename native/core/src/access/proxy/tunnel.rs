//! HTTP CONNECT: RFC 9110, 9.3.6. The answer of the proxy is part of the error.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Error, Proxy};
use crate::text::printable;

/// An answer is a few lines.
const MAX_ANSWER: usize = 16 * 1024;
/// Of its first line in an error.
const MAX_LINE: usize = 100;

pub(super) async fn through<S>(stream: &mut S, proxy: &Proxy, server: &str) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authorization = proxy
        .authorization()
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{authorization}\r\n");
    let lost = |error: std::io::Error| proxy.unreachable(error.to_string());
    stream.write_all(request.as_bytes()).await.map_err(lost)?;

    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.map_err(lost)? == 0 || answer.len() > MAX_ANSWER {
            break;
        }
        if !b"HTTP/1.".starts_with(&answer[..answer.len().min(7)]) {
            break;
        }
    }
    check_answer(&answer, proxy, server)
}

fn check_answer(answer: &[u8], proxy: &Proxy, server: &str) -> Result<(), Error> {
    let line = answer.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    // The line may be long, and no text.
    let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]);
    let Some((code, answer)) = status(&line) else {
        return Err(proxy.invalid_answer(if line.is_empty() {
            "it closed the connection without an answer".into()
        } else {
            format!("it answers with {line:?}")
        }));
    };
    match code {
        200..300 => Ok(()),
        // Some proxies use one of them for a missing password and the other for a wrong one.
        401 | 407 => Err(proxy.rejects_login()),
        400 | 404 | 405 | 501 => {
            Err(proxy.invalid_answer(format!("it answers {answer} to CONNECT")))
        }
        // The proxy's own failures. Any other answer is a refusal.
        500..600 => Err(proxy.cannot_reach(server.into(), answer)),
        _ => Err(proxy.refused(server.into(), answer)),
    }
}

/// The code, and the code with the reason phrase.
fn status(line: &str) -> Option<(u16, String)> {
    let rest = line.strip_prefix("HTTP/1.")?.get(1..)?.trim_start();
    let code = rest.get(..3)?.parse().ok()?;
    Some((code, printable(rest.trim_end(), MAX_LINE)))
}

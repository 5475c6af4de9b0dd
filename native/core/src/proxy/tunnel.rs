//! HTTP's CONNECT: RFC 9110, 9.3.6. What a proxy answers is kept, to be told.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Error, Proxy};

/// An answer is a few lines.
const MOST: usize = 16 * 1024;

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
        if stream.read_buf(&mut answer).await.map_err(lost)? == 0 || answer.len() > MOST {
            break;
        }
        if !b"HTTP/1.".starts_with(&answer[..answer.len().min(7)]) {
            break;
        }
    }
    judge(&answer, proxy, server)
}

fn judge(answer: &[u8], proxy: &Proxy, server: &str) -> Result<(), Error> {
    let line = answer.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    // A line of a stranger may be long, and no text.
    let line = String::from_utf8_lossy(&line[..line.len().min(100)]);
    let Some((code, answer)) = status(&line) else {
        return Err(proxy.not_a_proxy(if line.is_empty() {
            "it closed the connection without an answer".into()
        } else {
            format!("it answers with {line:?}")
        }));
    };
    match code {
        200..300 => Ok(()),
        // Some have the one for no password, and the other for a wrong one.
        401 | 407 => Err(proxy.not_let_in()),
        400 | 404 | 405 | 501 => Err(proxy.not_a_proxy(format!("it answers {answer} to CONNECT"))),
        // The gateway's own failures; all other answers are a no.
        500..600 => Err(proxy.cannot_reach(server.into(), answer)),
        _ => Err(proxy.refused(server.into(), answer)),
    }
}

/// The code, and the code with the words after it.
fn status(line: &str) -> Option<(u16, String)> {
    let rest = line.strip_prefix("HTTP/1.")?.get(1..)?.trim_start();
    let code = rest.get(..3)?.parse().ok()?;
    Some((code, rest.trim_end().into()))
}

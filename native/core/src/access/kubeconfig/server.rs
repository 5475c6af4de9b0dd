//! The URL of a server, by the rules of Go's `net/url` and client-go's `DefaultServerURL`.

use http::Uri;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

/// A server, as requests are sent to it.
pub(super) struct Server {
    pub url: Uri,
    /// As the kubeconfig has it, for an exec plugin: without query and fragment.
    pub text: String,
    /// User name and password in the URL, which Go sends with each request.
    pub login: Option<(String, SecretString)>,
}

/// A URL in its parts, undecoded.
struct Parts<'a> {
    scheme: String,
    login: Option<&'a str>,
    host: &'a str,
    path: &'a str,
}

impl Server {
    /// Without a scheme it is `http`, as for kubectl.
    ///
    /// # Errors
    /// Why no request could be sent there. The text is left out: it may hold a password.
    pub fn parse(server: &str) -> Result<Self, String> {
        let completed = format!("http://{server}");
        let parts = match parse(server) {
            Ok(parts) if !parts.scheme.is_empty() && !parts.host.is_empty() => parts,
            _ => match parse(&completed) {
                Ok(parts) if matches!(parts.path, "" | "/") => parts,
                Ok(_) => return Err("its server has a path and no scheme, such as https".into()),
                Err(problem) => return Err(format!("its server is not a URL: {problem}")),
            },
        };
        if !matches!(parts.scheme.as_str(), "http" | "https") {
            return Err("its server has another scheme than https and http".into());
        }
        if parts.host.is_empty() {
            return Err("its server has no host".into());
        }
        if !parts.host.is_ascii() {
            return Err("its server has a host name with letters beyond ASCII. Write it as DNS has it (xn--…)".into());
        }
        let path = parts.path.trim_end_matches('/');
        let host = parts.host.strip_suffix(':').unwrap_or(parts.host);
        let url = format!("{}://{host}{path}", parts.scheme).parse();
        let url: Uri = url.map_err(|_| "its server has a host or path that no request can have")?;
        if url.host().is_none_or(str::is_empty) || (has_port(host) && url.port_u16().is_none()) {
            return Err("its server has a host or port that no request can have".into());
        }
        let has_path = parts.path.len() > 1;
        let text =
            if has_path { server.split(['?', '#']).next().unwrap_or_default() } else { server };
        Ok(Self { url, text: text.into(), login: parts.login.and_then(login) })
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit(']').next().is_some_and(|rest| rest.contains(':'))
}

fn login(text: &str) -> Option<(String, SecretString)> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (!text.is_empty()).then(|| (decoded(name), decoded(password).into()))
}

/// As `url.Parse`. A URL without an authority has an empty host.
fn parse(url: &str) -> Result<Parts<'_>, &'static str> {
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("there is a control character in it");
    }
    let url = url.split('#').next().unwrap_or_default();
    let (scheme, rest) = scheme(url)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(Parts { scheme, login: None, host: "", path: "" });
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("there is a colon before the first slash");
        }
    }
    let Some(rest) =
        rest.strip_prefix("//").filter(|rest| !scheme.is_empty() || !rest.starts_with('/'))
    else {
        check_escapes(rest)?;
        return Ok(Parts { scheme, login: None, host: "", path: rest });
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if !login.is_none_or(is_login) {
        return Err("its user name or password needs percent-encoding");
    }
    check_host(host)?;
    check_escapes(path)?;
    Ok(Parts { scheme, login, host, path })
}

fn scheme(url: &str) -> Result<(String, &str), &'static str> {
    for (index, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("it begins with a colon"),
            b':' => return Ok((url[..index].to_ascii_lowercase(), &url[index + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), url))
}

fn is_login(login: &str) -> bool {
    login.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte))
        && check_escapes(login).is_ok()
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("there is no ] after its [")?;
        &host[end + 1..]
    } else {
        host.find(':').map_or("", |colon| &host[host.rfind(':').unwrap_or(colon)..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (port == digits && !port.is_empty()) {
        return Err("its port is not a number");
    }
    let allowed = |byte: u8| {
        !byte.is_ascii()
            || byte.is_ascii_alphanumeric()
            || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte)
    };
    if host.bytes().all(allowed) {
        Ok(())
    } else {
        Err("there is a character in it that no host name has")
    }
}

fn check_escapes(text: &str) -> Result<(), &'static str> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let valid = (0..bytes.len())
        .filter(|&index| bytes[index] == b'%')
        .all(|index| is_hex(bytes.get(index + 1)) && is_hex(bytes.get(index + 2)));
    if valid { Ok(()) } else { Err("there is a % without two hexadecimal digits") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn schemes_and_paths() {
        let cases = [
            ("https://a:6443", "https://a:6443/"),
            ("HTTPS://a/", "https://a/"),
            ("https://a/k8s/clusters/c-1/?x#y", "https://a/k8s/clusters/c-1"),
            ("localhost:6443", "http://localhost:6443/"),
            ("10.0.0.1:6443", "http://10.0.0.1:6443/"),
            ("a.b", "http://a.b/"),
            ("[fd00::1]:6443", "http://[fd00::1]:6443/"),
            ("https://[fd00::1]:6443", "https://[fd00::1]:6443/"),
            ("https://a:", "https://a/"),
        ];
        for (text, expected) in cases {
            assert_eq!(Server::parse(text).unwrap().url.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_not_part_of_the_server() {
        let server = Server::parse("https://me:se%40cret@a:1/").unwrap();
        assert_eq!(server.url.to_string(), "https://a:1/");
        let (name, password) = server.login.unwrap();
        assert_eq!(
            (name.as_str(), secrecy::ExposeSecret::expose_secret(&password)),
            ("me", "se@cret")
        );
    }

    #[test]
    fn servers_that_cannot_be_used() {
        for text in [
            "",
            "a/b",
            "ftp://a",
            "https://",
            "https:///x",
            "https://a b",
            "https://a:x",
            "https://a\n",
            "https://a:99999",
            "https://ä.b",
            "https://%zz",
            "https://a/%zz",
            ":1",
            "https://[::1",
            "://a",
            "https://secret:x@",
        ] {
            let problem = Server::parse(text).err().unwrap();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}

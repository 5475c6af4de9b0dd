//! The files in the options of TLS distribution: <https://www.erlang.org/doc/apps/ssl/ssl_distribution.html>

use super::term::{self, Term};

/// Paths in the container, of the connecting side, else of the accepting side.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    pub authority: Option<String>,
    /// The certificate and its key.
    pub identity: Option<(String, String)>,
}

/// The options of both sides. Of equal options the last one counts, as for the application ssl.
#[derive(Debug, Default)]
pub(super) struct Options {
    client: Side,
    server: Side,
}

/// The paths of one side.
#[derive(Debug, Default)]
struct Side {
    authority: String,
    certificate: String,
    key: String,
    /// The first pair of `certs_keys`, which replaces the certificate and the key.
    pair: Option<(String, String)>,
}

impl Options {
    /// Adds what follows each `-ssl_dist_opt`: any number of pairs. Whether there is one.
    pub fn add_words(&mut self, words: &[String]) -> bool {
        let mut given = false;
        let options = words.iter().enumerate().filter(|(_, word)| *word == "-ssl_dist_opt");
        for (at, _) in options {
            given = true;
            let values = words[at + 1..].iter().take_while(|word| !word.starts_with(['-', '+']));
            let values = values.collect::<Vec<_>>();
            for pair in values.chunks_exact(2) {
                if let Some(name) = pair[0].strip_prefix("client_") {
                    self.client.add(name, pair[1]);
                } else if let Some(name) = pair[0].strip_prefix("server_") {
                    self.server.add(name, pair[1]);
                }
            }
        }
        given
    }

    /// Adds the options in the file of `-ssl_dist_optfile`, which win over those of the command line. `None` where it is
    /// malformed.
    pub fn add_file(&mut self, text: &str) -> Option<()> {
        let sides = match term::parse(text)? {
            Term::List(sides) => sides,
            side @ Term::Tuple(_) => vec![side],
            _ => return None,
        };
        for side in &sides {
            let Term::Tuple(side) = side else { continue };
            match side.as_slice() {
                [Term::Atom(name), Term::List(options)] if name == "client" => {
                    self.client.add_terms(options);
                }
                [Term::Atom(name), Term::List(options)] if name == "server" => {
                    self.server.add_terms(options);
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Those of the client, else of the server.
    pub fn paths(&self) -> Paths {
        let authority = [&self.client, &self.server].map(|side| given(&side.authority));
        Paths {
            authority: authority.into_iter().flatten().next(),
            identity: self.client.identity().or_else(|| self.server.identity()),
        }
    }
}

impl Side {
    fn add(&mut self, name: &str, path: &str) {
        match name {
            "cacertfile" => self.authority = path.into(),
            "certfile" => self.certificate = path.into(),
            "keyfile" => self.key = path.into(),
            _ => {}
        }
    }

    fn add_terms(&mut self, options: &[Term]) {
        for option in options {
            let Term::Tuple(option) = option else { continue };
            match option.as_slice() {
                [Term::Atom(name), Term::Text(path)] => self.add(name, path),
                [Term::Atom(name), Term::List(pairs)] if name == "certs_keys" => {
                    let pair = pairs.first().and_then(|pair| {
                        let Term::Map(pair) = pair else { return None };
                        Self::of_pairs(pair).identity()
                    });
                    self.pair = pair;
                }
                _ => {}
            }
        }
    }

    fn of_pairs(pairs: &[(Term, Term)]) -> Self {
        let mut side = Self::default();
        for (name, path) in pairs {
            if let (Term::Atom(name), Term::Text(path)) = (name, path) {
                side.add(name, path);
            }
        }
        side
    }

    /// Without `keyfile` the key is in `certfile`.
    fn identity(&self) -> Option<(String, String)> {
        let identity = || {
            let certificate = given(&self.certificate)?;
            let key = given(&self.key).unwrap_or_else(|| certificate.clone());
            Some((certificate, key))
        };
        self.pair.clone().or_else(identity)
    }
}

/// An empty path means none.
fn given(path: &str) -> Option<String> {
    (!path.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of_file(text: &str) -> Option<Paths> {
        let mut options = Options::default();
        options.add_file(text).map(|()| options.paths())
    }

    fn of_words(words: &[String]) -> Option<Paths> {
        let mut options = Options::default();
        options.add_words(words).then(|| options.paths())
    }

    fn expected(authority: &str, certificate: &str, key: &str) -> Paths {
        let identity = Some((certificate.into(), key.into()));
        Paths { authority: Some(authority.into()), identity }
    }

    #[test]
    fn the_files_of_the_client_count_and_else_those_of_the_server() {
        let server = r#"{server, [{cacertfile, "s.ca"}, {certfile, "s.crt"}, {keyfile, "s.key"}, {verify, verify_peer}]}"#;
        let client =
            r#"{client, [{cacertfile, "c.ca"}, {certfile, "c.crt"}, {keyfile, <<"c.key">>}]}"#;
        assert_eq!(
            of_file(&format!("[{server}, {client}].")),
            Some(expected("c.ca", "c.crt", "c.key"))
        );
        assert_eq!(of_file(&format!("[{server}].")), Some(expected("s.ca", "s.crt", "s.key")));
        let half = r#"{client, [{cacertfile, "c.ca"}]}"#;
        assert_eq!(
            of_file(&format!("[{half}, {server}].")),
            Some(expected("c.ca", "s.crt", "s.key"))
        );
        let one = r#"{client, [{cacertfile, "x"}, {certfile, "x"}, {certfile, "both.pem"}, {cacertfile, "a"}]}"#;
        assert_eq!(of_file(&format!("[{one}].")), Some(expected("a", "both.pem", "both.pem")));
        let pairs =
            r#"{client, [{cacertfile, "a"}, {certs_keys, [#{certfile => "b", keyfile => "c"}]}]}"#;
        assert_eq!(of_file(&format!("[{pairs}].")), Some(expected("a", "b", "c")));
        let pairs = r#"{client, [{certs_keys, [#{certfile => "x", certfile => "b"}]}, {certfile, "x"},
            {keyfile, ""}, {cacertfile, ""}]}"#;
        assert_eq!(of_file(&format!("[{pairs}, {server}].")), Some(expected("s.ca", "b", "b")));
        assert_eq!(of_file("[]."), Some(Paths::default()));
        assert_eq!(of_file(&format!("{server}.")), Some(expected("s.ca", "s.crt", "s.key")));
        assert_eq!(of_file("server."), None);
    }

    #[test]
    fn pairs_of_the_command_line() {
        let words = |line: &str| line.split(' ').map(Into::into).collect::<Vec<String>>();
        let line = "erl -ssl_dist_opt server_certfile s.pem server_secure_renegotiate true -name x \
                    -ssl_dist_opt client_cacertfile ca.pem";
        assert_eq!(of_words(&words(line)), Some(expected("ca.pem", "s.pem", "s.pem")));
        assert_eq!(of_words(&words("erl -ssl_dist_opt")), Some(Paths::default()));
        assert_eq!(of_words(&words("erl -name x")), None);
    }

    #[test]
    fn the_file_wins_over_the_command_line() {
        let words = ["-ssl_dist_opt", "client_cacertfile", "w.ca", "client_certfile", "w.pem"];
        let mut options = Options::default();
        assert!(options.add_words(&words.map(Into::into)));
        options.add_file(r#"[{client, [{cacertfile, "f.ca"}]}]."#).unwrap();
        assert_eq!(options.paths(), expected("f.ca", "w.pem", "w.pem"));
    }
}

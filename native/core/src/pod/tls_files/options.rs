//! The files in the options of TLS distribution: <https://www.erlang.org/doc/apps/ssl/ssl_distribution.html>

use super::term::{self, Term};

/// Paths in the container, of the connecting side, else of the accepting side.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    pub authority: Option<String>,
    /// The certificate and its key.
    pub identity: Option<(String, String)>,
}

/// The paths of one side.
#[derive(Debug, Default)]
struct Side {
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Side {
    /// Of equal options the first one counts, as for the application ssl.
    fn add(&mut self, name: &str, path: &str) {
        let place = match name {
            "cacertfile" => &mut self.authority,
            "certfile" => &mut self.certificate,
            "keyfile" => &mut self.key,
            _ => return,
        };
        place.get_or_insert_with(|| path.into());
    }

    fn add_terms(&mut self, options: &[Term]) {
        for option in options {
            let Term::Tuple(option) = option else { continue };
            match option.as_slice() {
                [Term::Atom(name), Term::Text(path)] => self.add(name, path),
                [Term::Atom(name), Term::List(pairs)] if name == "certs_keys" => {
                    if let Some(Term::Map(pair)) = pairs.first() {
                        self.add_pairs(pair);
                    }
                }
                _ => {}
            }
        }
    }

    fn add_pairs(&mut self, pairs: &[(Term, Term)]) {
        for (name, path) in pairs {
            if let (Term::Atom(name), Term::Text(path)) = (name, path) {
                self.add(name, path);
            }
        }
    }

    /// Without `keyfile` the key is in `certfile`.
    fn identity(&self) -> Option<(String, String)> {
        let certificate = self.certificate.clone()?;
        let key = self.key.clone().unwrap_or_else(|| certificate.clone());
        Some((certificate, key))
    }
}

fn paths(client: &Side, server: &Side) -> Paths {
    let authority = client.authority.as_ref().or(server.authority.as_ref()).cloned();
    Paths { authority, identity: client.identity().or_else(|| server.identity()) }
}

/// The paths in the file of `-ssl_dist_optfile`; `None` where it is malformed.
pub(super) fn of_file(text: &str) -> Option<Paths> {
    let Term::List(sides) = term::parse(text)? else { return None };
    let (mut client, mut server) = (Side::default(), Side::default());
    for side in &sides {
        let Term::Tuple(side) = side else { continue };
        match side.as_slice() {
            [Term::Atom(name), Term::List(options)] if name == "client" => {
                client.add_terms(options);
            }
            [Term::Atom(name), Term::List(options)] if name == "server" => {
                server.add_terms(options);
            }
            _ => {}
        }
    }
    Some(paths(&client, &server))
}

/// The paths after `-ssl_dist_opt`, which is there as often as one likes, with any number of pairs.
pub(super) fn of_words(words: &[String]) -> Option<Paths> {
    let (mut client, mut server) = (Side::default(), Side::default());
    let mut given = false;
    let options = words.iter().enumerate().filter(|(_, word)| *word == "-ssl_dist_opt");
    for (at, _) in options {
        given = true;
        let values = words[at + 1..].iter().take_while(|word| !word.starts_with(['-', '+']));
        let values = values.collect::<Vec<_>>();
        for pair in values.chunks_exact(2) {
            if let Some(name) = pair[0].strip_prefix("client_") {
                client.add(name, pair[1]);
            } else if let Some(name) = pair[0].strip_prefix("server_") {
                server.add(name, pair[1]);
            }
        }
    }
    given.then(|| paths(&client, &server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(authority: &str, certificate: &str, key: &str) -> Paths {
        let identity = Some((certificate.into(), key.into()));
        Paths { authority: Some(authority.into()), identity }
    }

    #[test]
    fn the_files_of_the_client_count_and_else_those_of_the_server() {
        let server = r#"{server, [{cacertfile, "s.ca"}, {certfile, "s.crt"}, {keyfile, "s.key"}, {verify, verify_peer}]}"#;
        let client =
            r#"{client, [{cacertfile, "c.ca"}, {certfile, "c.crt"}, {keyfile, <<"c.key">>}]}"#;
        let of_file = |text: String| of_file(&text);
        assert_eq!(
            of_file(format!("[{server}, {client}].")),
            Some(expected("c.ca", "c.crt", "c.key"))
        );
        assert_eq!(of_file(format!("[{server}].")), Some(expected("s.ca", "s.crt", "s.key")));
        let half = r#"{client, [{cacertfile, "c.ca"}]}"#;
        assert_eq!(
            of_file(format!("[{half}, {server}].")),
            Some(expected("c.ca", "s.crt", "s.key"))
        );
        let one = r#"{client, [{cacertfile, "a"}, {certfile, "both.pem"}, {certfile, "x"}]}"#;
        assert_eq!(of_file(format!("[{one}].")), Some(expected("a", "both.pem", "both.pem")));
        let pairs =
            r#"{client, [{cacertfile, "a"}, {certs_keys, [#{certfile => "b", keyfile => "c"}]}]}"#;
        assert_eq!(of_file(format!("[{pairs}].")), Some(expected("a", "b", "c")));
        assert_eq!(of_file("[].".into()), Some(Paths::default()));
        assert_eq!(of_file("{server, []}.".into()), None);
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
}

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::*;

/// An issuer that takes each refresh token once, and answers one request for each permit.
struct Issuer {
    url: String,
    permits: Semaphore,
    requests: AtomicUsize,
    refreshes: AtomicUsize,
}

impl Issuer {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            permits: Semaphore::new(0),
            requests: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
        });
        let serving = issuer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        issuer
    }

    fn login(&self, refresh_token: &str) -> Oidc {
        let settings = [("idp-issuer-url", self.url.as_str()), ("refresh-token", refresh_token)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Oidc::new("context", &BTreeMap::from(settings), &Environment::default())
    }
}

async fn serve(stream: TcpStream, issuer: Arc<Issuer>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            path.get_or_insert(line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let (status, answer) = if path?.contains("well-known") {
            (200, serde_json::json!({"token_endpoint": format!("{}/token", issuer.url)}))
        } else {
            issuer.requests.fetch_add(1, Ordering::SeqCst);
            issuer.permits.acquire().await.ok()?.forget();
            let used = issuer.refreshes.load(Ordering::SeqCst);
            if String::from_utf8_lossy(&body).contains(&format!("refresh_token=token-{used}&")) {
                issuer.refreshes.fetch_add(1, Ordering::SeqCst);
                // Expired from the beginning: each request needs another one.
                let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1}"#);
                let (id_token, next) =
                    (format!("h.{claims}.s{used}"), format!("token-{}", used + 1));
                (200, serde_json::json!({"id_token": id_token, "refresh_token": next}))
            } else {
                (400, serde_json::json!({"error": "invalid_grant"}))
            }
        };
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all(format!("{head}{answer}").as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn a_refresh_that_nobody_waits_for_keeps_the_next_refresh_token() {
    let issuer = Issuer::start().await;
    let login = issuer.login("token-0");
    let limit = Duration::from_secs(10);
    tokio::select! {
        token = login.token(limit) => panic!("there was no permit: {token:?}"),
        () = async {
            while issuer.requests.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        } => {} // nobody waits for the answer
    }
    issuer.permits.add_permits(100);
    let token = login.token(limit).await.unwrap();
    assert!(token.to_str().unwrap().contains(".s1"), "{token:?}");
    assert_eq!(issuer.refreshes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failure_counts_for_a_moment_and_in_its_environment_only() {
    let issuer = Issuer::start().await;
    issuer.permits.add_permits(100);
    let login = issuer.login("unknown");
    let limit = Duration::from_secs(10);
    let requests = || issuer.requests.load(Ordering::SeqCst);
    for _ in 0..2 {
        let failure = login.token(limit).await.unwrap_err().to_string();
        assert!(failure.contains("invalid_grant"), "{failure}");
        // With the client's secret in the header, and without.
        assert_eq!(requests(), 2);
    }
    let variables = [("ANOTHER".to_owned(), "environment".to_owned())];
    let elsewhere = Oidc { environment: Environment::from_iter(variables), ..login };
    assert!(elsewhere.token(limit).await.is_err());
    assert_eq!(requests(), 4);
}

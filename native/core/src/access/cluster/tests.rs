#![allow(clippy::unwrap_used)]

use http::Request;
use kube::client::Body;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const ACTION: Action = Action { verb: "get", resource: "/version" };
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// A server, and a client for it.
async fn server() -> (TcpListener, Cluster) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, Cluster::new(scripted::config(&url), Duration::from_secs(10)).unwrap())
}

async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "{request:?}");
    }
}

/// Answers one request on each of so many connections, and closes each instead of a second answer.
async fn close_after_one_answer(listener: &TcpListener, connections: usize) {
    let mut open = Vec::new();
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        open.push(stream);
    }
    for stream in &mut open {
        stream.write_all(ANSWER).await.unwrap();
    }
    tokio::spawn(async move {
        for mut stream in open {
            read_request(&mut stream).await;
        }
    });
}

async fn send(cluster: &Cluster, request: http::request::Builder) -> Result<u16, Error> {
    let request = request.body(Body::empty()).unwrap();
    let answer = async {
        let answer = cluster.client.send(request).await?;
        let status = answer.status().as_u16();
        // The connection is idle when the body has been read.
        answer.into_body().collect().await.map(|_| status)
    };
    cluster.request(ACTION, answer).await
}

#[tokio::test]
async fn idle_connections_that_were_closed_are_replaced_for_a_get_and_for_each_upgrade() {
    let get = || Request::get("/version");
    let spdy = || Request::post("/x").header("upgrade", "SPDY/3.1").header("connection", "Upgrade");
    let websocket = || Request::get("/x").header("upgrade", "websocket");
    let requests: [&dyn Fn() -> http::request::Builder; 3] = [&get, &spdy, &websocket];
    for request in requests {
        let (listener, cluster) = server().await;
        let (one, two, ()) = tokio::join!(
            send(&cluster, get()),
            send(&cluster, get()),
            close_after_one_answer(&listener, 2)
        );
        assert_eq!((one.unwrap(), two.unwrap()), (200, 200));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
        });
        let answer = send(&cluster, request()).await;
        assert_eq!(answer.unwrap(), 200);
    }
}

#[tokio::test]
async fn another_request_is_sent_once() {
    let (listener, cluster) = server().await;
    let (one, ()) =
        tokio::join!(send(&cluster, Request::get("/")), close_after_one_answer(&listener, 1));
    assert_eq!(one.unwrap(), 200);
    let answer = send(&cluster, Request::post("/x")).await;
    assert!(matches!(answer, Err(Error::ConnectionClosed { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_closes_new_connections_is_the_failure() {
    let (listener, cluster) = server().await;
    let (answer, ()) = tokio::join!(send(&cluster, Request::get("/")), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
    });
    assert!(matches!(answer, Err(Error::ConnectionClosed { .. })), "{answer:?}");
}

/// Sends one request to a server without TLS, which answers it so. The result, and the head of the request.
async fn without_tls(
    login: &str,
    user: &str,
    folder: &std::path::Path,
    answer: &[u8],
) -> (Result<(), Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{login}{}", listener.local_addr().unwrap());
    let path = folder.join("config");
    let text = format!(
        "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    );
    std::fs::write(&path, text).unwrap();
    let source = kubeconfig::Source { file: Some(path), ..kubeconfig::Source::default() };
    let config = kubeconfig::resolve(&source, kubeconfig::Selection::default()).await.unwrap();
    let cluster = Cluster::new(config, Duration::from_secs(10)).unwrap();
    let request = Request::get("/version").body(Vec::new()).unwrap();
    let request = cluster.client.request::<serde_json::Value>(request);
    let (result, head) = tokio::join!(cluster.request(ACTION, request), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        stream.write_all(answer).await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    (result.map(drop), head)
}

async fn head_of_a_request(login: &str, user: &str, folder: &std::path::Path) -> String {
    let (result, head) = without_tls(login, user, folder, ANSWER).await;
    result.unwrap();
    head
}

#[tokio::test]
async fn credentials_that_were_withheld_are_the_reason_of_a_401() {
    let folder = tempfile::tempdir().unwrap();
    let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let (result, _) = without_tls("", "token: secret", folder.path(), answer).await;
    assert!(matches!(result, Err(Error::CredentialsWithheld { .. })), "{result:?}");
    let (result, _) = without_tls("", "", folder.path(), answer).await;
    assert!(matches!(result, Err(Error::Unauthorized { .. })), "{result:?}");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_credentials() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let (plugin, runs) = (folder.path().join("plugin"), folder.path().join("runs"));
    std::fs::write(&plugin, format!("#!/bin/sh\necho >> {}\n", runs.display())).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exec = format!(
        "exec: {{command: {}, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}",
        plugin.display()
    );
    let users = ["token: secret", "tokenFile: config", "username: me, password: secret", &exec];
    for user in users {
        let head = head_of_a_request("", user, folder.path()).await;
        assert!(
            head.contains("host: 127.0.0.1") && !head.contains("authorization"),
            "{user}: {head}"
        );
    }
    assert!(!runs.exists());
    // Go sends these, and only these.
    let head = head_of_a_request("me:a%3Ab@", "token: secret", folder.path()).await;
    assert!(head.contains("authorization: basic bwu6ytpi\r\n"), "{head}");
    let head = head_of_a_request("", "as: lead, as-groups: [a, b]", folder.path()).await;
    assert!(
        head.contains("impersonate-user: lead") && head.contains("impersonate-group: b"),
        "{head}"
    );
}

/// Answers one request so, and returns what the client makes of it.
async fn answered(status: &str, body: &str) -> Error {
    let (listener, cluster) = server().await;
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(&answer).await.unwrap();
    });
    let request = Request::get("/version").body(Vec::new()).unwrap();
    let answer = cluster.client.request::<serde_json::Value>(request);
    cluster.request(ACTION, answer).await.unwrap_err()
}

#[tokio::test]
async fn the_code_of_a_gateways_answer_is_that_of_http() {
    for body in ["", "{}", "[]", "no JSON", r#"{"message":"m","code":16}"#, r#"{"code":"Denied"}"#]
    {
        let unauthorized = answered("401 Unauthorized", body).await;
        assert!(matches!(unauthorized, Error::Unauthorized { .. }), "{body}: {unauthorized}");
        let forbidden = answered("403 Forbidden", body).await;
        assert!(matches!(forbidden, Error::Forbidden { .. }), "{body}: {forbidden}");
        let refused = answered("502 Bad Gateway", body).await;
        assert!(matches!(refused, Error::Refused { code: 502, .. }), "{body}: {refused}");
    }
    for body in ["", "<html>", r#"{"message":"no Route matched"}"#] {
        let not_found = answered("404 Not Found", body).await;
        assert!(matches!(not_found, Error::NotKubernetes { .. }), "{body}: {not_found}");
    }
    // An API server's own
    for body in ["404 page not found\n", &scripted::status(404).to_string()] {
        let not_found = answered("404 Not Found", body).await;
        assert!(matches!(not_found, Error::Refused { code: 404, .. }), "{body}: {not_found}");
    }
    let status = scripted::status(422).to_string();
    let refused = answered("422 Unprocessable Entity", &status).await;
    assert!(
        matches!(refused, Error::Refused { code: 422, message, .. } if message == "failure 422")
    );
    // A page with the request
    let page = "GET /version\r\nAuthorization: Bearer secret";
    let refused = answered("400 Bad Request", page).await;
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

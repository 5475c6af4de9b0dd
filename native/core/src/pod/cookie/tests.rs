#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::access::cluster::scripted::{ApiServer, api_server};

/// What the API server answers to the request for an object: its data, or the code of a failure.
type Answer<'a> = (&'a str, Result<&'a [(&'a str, &'a str)], u16>);

async fn answer(server: &mut ApiServer, answers: &[Answer<'_>]) {
    for (path, answer) in answers {
        let request = server.request().await;
        assert_eq!(request.target, format!("/api/v1/namespaces/default/{path}"));
        match answer {
            Err(code) => request.fail(*code),
            Ok(data) => {
                let secret = path.starts_with("secrets/");
                let data = data.iter().map(|(key, value)| {
                    let value = if secret { STANDARD.encode(value) } else { (*value).into() };
                    ((*key).to_owned(), Value::from(value))
                });
                let kind = if secret { "Secret" } else { "ConfigMap" };
                let data: serde_json::Map<_, _> = data.collect();
                request.answer(
                    &json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "data": data}),
                );
            }
        }
    }
}

/// The cookie of this container, and its source.
async fn found(
    container: &Value,
    answers: &[Answer<'_>],
) -> Result<Option<(String, String)>, Error> {
    let (cluster, mut server) = api_server();
    let spec = json!({"containers": [container],
        "volumes": [{"name": "home", "secret": {"secretName": "mq-erlang-cookie"}}],
        "initContainers": [{"name": "setup", "volumeMounts": [{"name": "home", "mountPath": "/tmp"}]}]});
    let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let (cookie, ()) = tokio::join!(find(&cluster, &pod, container), answer(&mut server, answers));
    // Nothing else was read.
    assert!(server.is_idle());
    Ok(cookie?.map(|cookie| {
        let value = String::from_utf8(cookie.reveal().to_vec()).unwrap();
        (value, cookie.source().to_owned())
    }))
}

fn pair(value: &str, source: &str) -> (String, String) {
    (value.into(), source.into())
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_may_not_be_read_is_reported_last() {
    let container = json!({"name": "app", "envFrom": [
        {"secretRef": {"name": "app-cookie"}}, {"secretRef": {"name": "db"}}]});
    let db = ("secrets/db", Err(403));
    let cookie: [(&str, &str); 1] = [("RELEASE_COOKIE", "c")];
    let cookie = found(&container, &[db, ("secrets/app-cookie", Ok(&cookie))]).await.unwrap();
    let source = "Secret app-cookie, key RELEASE_COOKIE (RELEASE_COOKIE of container app)";
    assert_eq!(cookie, Some(pair("c", source)));
    let none: [(&str, &str); 0] = [];
    let answers =
        [db, ("secrets/app-cookie", Ok(&none[..])), ("secrets/mq-erlang-cookie", Ok(&none))];
    let error = found(&container, &answers).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { resource: "secrets", .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_an_init_container_has_the_cookie() {
    let container = json!({"name": "rabbitmq", "image": "rabbitmq:4-management"});
    let data: [(&str, &str); 1] = [(".erlang.cookie", "secret\n")];
    let cookie = found(&container, &[("secrets/mq-erlang-cookie", Ok(&data))]).await.unwrap();
    let source = "Secret mq-erlang-cookie, key .erlang.cookie (a file of init container setup)";
    assert_eq!(cookie, Some(pair("secret", source)));
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_value_and_options_are_read_once() {
    let key = json!({"secretKeyRef": {"name": "all", "key": "half"}});
    let container = json!({"name": "app", "env": [
        {"name": "HALF", "valueFrom": key}, {"name": "RELEASE_COOKIE", "value": "$(HALF)-$(HALF)-$(TOKEN)"}],
        "envFrom": [{"configMapRef": {"name": "map"}}]});
    let data: [(&str, &str); 1] = [("half", "h")];
    let map: [(&str, &str); 1] = [("TOKEN", "t")];
    let answers = [("secrets/all", Ok(&data[..])), ("configmaps/map", Ok(&map[..]))];
    let cookie = found(&container, &answers).await.unwrap();
    assert_eq!(cookie, Some(pair("h-h-t", "RELEASE_COOKIE of container app")));

    let flags = json!({"name": "app", "env": [{"name": "ERL_FLAGS",
        "valueFrom": {"secretKeyRef": {"name": "all", "key": "flags"}}}]});
    let data: [(&str, &str); 1] = [("flags", "-name a@b -setcookie x -noinput")];
    let cookie = found(&flags, &[("secrets/all", Ok(&data))]).await.unwrap();
    let source = "Secret all, key flags (-setcookie in ERL_FLAGS of container app)";
    assert_eq!(cookie, Some(pair("x", source)));
}

#[test]
fn the_doctor_recognises_a_default_by_the_end_of_its_source() {
    let doctor = include_str!("../../../../../lib/k8s_connect/doctor/handshake.ex");
    assert!(doctor.contains(PUBLIC));
}

#[tokio::test(start_paused = true)]
async fn an_image_has_a_default_that_everyone_knows() {
    let none: [Answer<'_>; 1] = [("secrets/mq-erlang-cookie", Ok(&[]))];
    for (image, cookie) in [
        ("vernemq/vernemq:2.0", "vmq"),
        ("registry.example:5000/emqx/emqx-enterprise@sha256:0", "emqxsecretcookie"),
        ("riak-kv", "riak"),
    ] {
        let container = json!({"name": "app", "image": image});
        let (value, source) = found(&container, &none).await.unwrap().unwrap();
        assert_eq!(value, cookie);
        assert!(
            source.starts_with("the default of image ") && source.ends_with(PUBLIC),
            "{source}"
        );
    }
    for image in ["app", "emqx/exporter:1", "vernemq.example:5000/app"] {
        let container = json!({"name": "app", "image": image});
        assert_eq!(found(&container, &none).await.unwrap(), None, "{image}");
    }
    // Somebody has set what everyone knows.
    let container =
        json!({"name": "app", "env": [{"name": "EMQX_NODE__COOKIE", "value": "emqxsecretcookie"}]});
    let (_, source) = found(&container, &[]).await.unwrap().unwrap();
    assert_eq!(source, format!("EMQX_NODE__COOKIE of container app{PUBLIC}"));
    // A Secret that may not be read may have another one.
    let container =
        json!({"name": "app", "image": "emqx", "envFrom": [{"secretRef": {"name": "x"}}]});
    let answers = [("secrets/x", Err(403)), none[0]];
    assert!(matches!(found(&container, &answers).await, Err(Error::Forbidden { .. })));
}

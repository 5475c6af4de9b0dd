#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::access::cluster::scripted::{ApiServer, api_server};

const OPTIONS: &str = r#"% Of both sides
[{server, [{cacertfile, "/certs/ca.crt"}, {certfile, "/certs/tls.crt"}, {keyfile, "/certs/tls.key"}]},
 {client, [{cacertfile, "/certs/ca.crt"}, {certfile, "/certs/tls.crt"}, {keyfile, "/certs/tls.key"}]}]."#;
const FLAGS: &str = "-proto_dist inet_tls -ssl_dist_optfile /etc/erl/tls.config";

/// The path of an object, and its data or the code of a failure.
type Answer<'a> = (&'a str, Result<Value, u16>);

fn certificates() -> Answer<'static> {
    ("secrets/nodes-tls", Ok(json!({"ca.crt": "CA", "tls.crt": "CRT", "tls.key": "KEY"})))
}

fn options(text: &str) -> Answer<'static> {
    ("configmaps/options", Ok(json!({"tls.config": text})))
}

/// A container with these members, and the volumes of the certificates and of the options.
fn pod(mut container: Value) -> Pod {
    let mounts = json!([
        {"name": "certificates", "mountPath": "/certs"},
        {"name": "options", "mountPath": "/etc/erl/tls.config", "subPath": "tls.config"},
    ]);
    container["name"] = "app".into();
    let more = container["volumeMounts"].as_array().cloned().unwrap_or_default();
    let mounts = mounts.as_array().unwrap().iter().cloned().chain(more).collect();
    container["volumeMounts"] = Value::Array(mounts);
    let items = json!([{"key": "ca.crt", "path": "ca.crt"}, {"key": "tls.crt", "path": "tls.crt"},
        {"key": "tls.key", "path": "tls.key"}]);
    let volumes = json!([
        {"name": "certificates", "secret": {"secretName": "nodes-tls", "items": items}},
        {"name": "options", "configMap": {"name": "options"}},
        {"name": "env", "configMap": {"name": "server-conf"}},
        {"name": "empty", "emptyDir": {}},
        {"name": "hidden", "secret": {"secretName": "hidden"}},
    ]);
    serde_json::from_value(json!({"spec": {"containers": [container], "volumes": volumes}}))
        .unwrap()
}

async fn answer(server: &mut ApiServer, answers: &[Answer<'_>]) {
    for (path, answer) in answers {
        let request = server.request().await;
        assert_eq!(request.target, format!("/api/v1/namespaces/default/{path}"));
        match answer {
            Err(code) => request.fail(*code),
            Ok(data) => {
                let secret = path.starts_with("secrets/");
                let data = data.as_object().unwrap().iter().map(|(key, value)| {
                    let value = value.as_str().unwrap();
                    let value = if secret { STANDARD.encode(value) } else { value.to_owned() };
                    (key.clone(), Value::from(value))
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

async fn found(container: Value, answers: &[Answer<'_>]) -> Result<TlsFiles, Error> {
    let (cluster, mut server) = api_server();
    let pod = pod(container);
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let (found, ()) = tokio::join!(find(&cluster, &pod, container), answer(&mut server, answers));
    // Nothing else was read.
    assert!(server.is_idle());
    found
}

fn flags(name: &str, value: &str) -> Value {
    json!({"env": [{"name": name, "value": value}]})
}

async fn source(container: Value, answers: &[Answer<'_>]) -> String {
    let files = found(container, answers).await.unwrap();
    assert_eq!(files.authority, b"CA");
    assert_eq!(files.identity, Some((b"CRT".into(), b"KEY".into())));
    files.source
}

async fn problem(container: Value, answers: &[Answer<'_>]) -> String {
    match found(container, answers).await {
        Err(Error::Missing(problem)) => problem,
        Err(Error::Cluster(error)) => error.to_string(),
        Ok(files) => files.source,
    }
}

#[tokio::test(start_paused = true)]
async fn the_option_file_leads_to_the_secret() {
    let expected = "certificates from Secret nodes-tls (-ssl_dist_optfile /etc/erl/tls.config)";
    for name in
        ["ERL_AFLAGS", "ERL_FLAGS", "ELIXIR_ERL_OPTIONS", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    {
        let container = flags(name, FLAGS);
        assert_eq!(source(container, &[options(OPTIONS), certificates()]).await, expected);
    }
    let arguments = json!({"command": ["erl"], "args": FLAGS.split(' ').collect::<Vec<_>>()});
    assert_eq!(source(arguments, &[options(OPTIONS), certificates()]).await, expected);
    let line = "exec erl -proto_dist inet_tls -ssl_dist_optfile \"$DIR/tls.config\" -noinput";
    let shell =
        json!({"command": ["sh", "-c", line], "env": [{"name": "DIR", "value": "/etc/erl"}]});
    assert_eq!(source(shell, &[options(OPTIONS), certificates()]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn pairs_of_the_command_line_lead_to_the_secret() {
    let pairs = "-proto_dist inet_tls -ssl_dist_opt client_cacertfile /certs/ca.crt \
        client_certfile /certs/tls.crt -ssl_dist_opt client_keyfile /certs/tls.key";
    let source = source(flags("ERL_FLAGS", pairs), &[certificates()]).await;
    assert_eq!(source, "certificates from Secret nodes-tls (-ssl_dist_opt)");
}

#[tokio::test(start_paused = true)]
async fn options_of_the_vm_can_be_in_objects() {
    // As the RabbitMQ cluster operator does with `envConfig`.
    let text =
        format!("# -ssl_dist_optfile /none\nSERVER_ADDITIONAL_ERL_ARGS=\"-pa $X {FLAGS}\"\n");
    let map = ("configmaps/server-conf", Ok(json!({"rabbitmq-env.conf": text})));
    let file = "/etc/rabbitmq/rabbitmq-env.conf";
    let mount = json!({"name": "env", "mountPath": file, "subPath": "rabbitmq-env.conf"});
    let container = json!({"volumeMounts": [mount]});
    let expected = "certificates from Secret nodes-tls (-ssl_dist_optfile /etc/erl/tls.config)";
    assert_eq!(source(container, &[map, options(OPTIONS), certificates()]).await, expected);

    let map = ("configmaps/server-conf", Ok(json!({"vm.args": format!("{FLAGS}\n")})));
    let container = json!({"volumeMounts": [{"name": "env", "mountPath": "/app/conf"}]});
    assert_eq!(source(container, &[map, options(OPTIONS), certificates()]).await, expected);

    let map = ("configmaps/server-conf", Ok(json!({"mine": FLAGS})));
    let container = json!({"volumeMounts": [{"name": "env", "mountPath": "/app/conf"}],
        "env": [{"name": "RELEASE_VM_ARGS", "value": "/app/conf/mine"}]});
    assert_eq!(source(container, &[map, options(OPTIONS), certificates()]).await, expected);

    for from in [
        json!({"env": [{"name": "ERL_FLAGS", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "f"}}}]}),
        json!({"envFrom": [{"configMapRef": {"name": "flags"}, "prefix": "ERL_"}]}),
    ] {
        let map = ("configmaps/flags", Ok(json!({"f": FLAGS, "FLAGS": FLAGS})));
        assert_eq!(source(from, &[map, options(OPTIONS), certificates()]).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_may_not_be_read_is_the_error() {
    let forbidden = |answers: Vec<Answer<'static>>| async move {
        match found(flags("ERL_FLAGS", FLAGS), &answers).await {
            Err(Error::Cluster(cluster::Error::Forbidden { resource, .. })) => resource,
            _ => "",
        }
    };
    assert_eq!(forbidden(vec![("configmaps/options", Err(403))]).await, "configmaps");
    let answers = vec![options(OPTIONS), ("secrets/nodes-tls", Err(403))];
    assert_eq!(forbidden(answers).await, "secrets");
}

#[tokio::test(start_paused = true)]
async fn what_the_spec_does_not_lead_to() {
    let nothing = problem(json!({}), &[]).await;
    assert_eq!(nothing, "the pod's spec leads to no -ssl_dist_optfile and no -ssl_dist_opt");
    let image = flags("ERL_FLAGS", "-proto_dist inet_tls -ssl_dist_optfile /app/tls\u{1b}.config");
    let expected =
        "the file /app/tls.config is in no Secret and no ConfigMap that container app mounts";
    assert_eq!(problem(image, &[]).await, expected);
    let malformed = problem(flags("ERL_FLAGS", FLAGS), &[options("[{client")]).await;
    let expected =
        "ConfigMap options (-ssl_dist_optfile /etc/erl/tls.config) is no plain Erlang term";
    assert_eq!(malformed, expected);
    let nobody = problem(flags("ERL_FLAGS", FLAGS), &[options("[{client, []}].")]).await;
    assert!(nobody.ends_with("names no cacertfile to verify its certificate with"), "{nobody}");
    let elsewhere = r#"[{client, [{cacertfile, "/run/ca.pem"}]}]."#;
    let elsewhere = problem(flags("ERL_FLAGS", FLAGS), &[options(elsewhere)]).await;
    assert!(elsewhere.starts_with("the file /run/ca.pem is in no Secret"), "{elsewhere}");
    let gone = ("secrets/nodes-tls", Ok(json!({"ca.crt": "CA"})));
    let gone = problem(flags("ERL_FLAGS", FLAGS), &[options(OPTIONS), gone]).await;
    assert!(gone.starts_with("the file /certs/tls.crt is in no Secret"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_path_does_not_leave_its_mount() {
    for path in [
        "/certs/../hidden/key",
        "/certs/ca.crt/../tls.key",
        "../certs/ca.crt",
        "certs/ca.crt",
        "/certs",
        "/",
    ] {
        let text = format!("[{{client, [{{cacertfile, \"{path}\"}}]}}].");
        let missing = problem(flags("ERL_FLAGS", FLAGS), &[options(&text)]).await;
        assert!(missing.starts_with(&format!("the file {path} is in no Secret")), "{missing}");
    }
}

async fn objects_of(container: Value, answers: &[Answer<'_>]) -> Vec<String> {
    let (cluster, mut server) = api_server();
    let pod = pod(container);
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let asked = objects(&cluster, &pod, container);
    let (objects, ()) = tokio::join!(asked, answer(&mut server, answers));
    objects.unwrap().into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_objects_for_a_role() {
    let answers = [options(OPTIONS), ("secrets/nodes-tls", Err(403))];
    let expected = ["configmaps options", "secrets nodes-tls"];
    assert_eq!(objects_of(flags("ERL_FLAGS", FLAGS), &answers).await, expected);
    let mounting = || json!({"volumeMounts": [{"name": "env", "mountPath": "/app/conf"}]});
    let map = |text: &str| ("configmaps/server-conf", Ok(json!({"vm.args": text})));
    let answers = [map(FLAGS), options(OPTIONS), certificates()];
    let expected = ["configmaps server-conf", "configmaps options", "secrets nodes-tls"];
    assert_eq!(objects_of(mounting(), &answers).await, expected);
    // A node without TLS needs none of them.
    assert_eq!(objects_of(mounting(), &[map("-name x")]).await, [""; 0]);
    let refused = ("configmaps/server-conf", Err(403));
    assert_eq!(objects_of(mounting(), &[refused]).await, [""; 0]);
}

#[test]
fn the_spec_says_whether_the_distribution_is_over_tls() {
    let is_expected = |flags| {
        let pod = pod(self::flags("ERL_FLAGS", flags));
        is_expected(&pod, &pod.spec.as_ref().unwrap().containers[0])
    };
    assert!(is_expected(FLAGS) && is_expected("-proto_dist inet6_tls"));
    assert!(!is_expected("-proto_dist inet6_tcp") && !is_expected("-ssl_dist_optfile /x"));
    assert!(!is_expected("-proto_dist"));
}

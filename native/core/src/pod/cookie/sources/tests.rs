#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn pod(container: &Value, init: &Value) -> Pod {
    let volumes = json!([
        {"name": "home", "secret": {"secretName": "cookie-file"}},
        {"name": "map", "configMap": {"name": "cookie-map"}},
        {"name": "other", "secret": {"secretName": "tls"}},
        {"name": "empty", "emptyDir": {}},
        {"name": "renamed", "secret": {"secretName": "all",
            "items": [{"key": "erl", "path": ".erlang.cookie"}, {"key": "ca", "path": "ca.crt"}]}},
        {"name": "projected", "projected": {"sources": [
            {"secret": {"name": "tls"}},
            {"secret": {"name": "all", "items": [{"key": "erl", "path": "the-cookie"}]}},
            {"serviceAccountToken": {"path": "token"}},
        ]}},
    ]);
    let spec = json!({"containers": [container], "initContainers": [init], "volumes": volumes});
    let metadata = json!({"name": "app-0", "namespace": "shop"});
    let status = json!({"podIP": "10.1.2.3"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn sources_with(container: &Value, init: &Value) -> Sources {
    let pod = pod(container, init);
    Sources::of(&pod, &pod.spec.as_ref().unwrap().containers[0])
}

fn sources(container: &Value) -> Sources {
    sources_with(container, &json!({"name": "init"}))
}

fn names_of(sources: &Sources) -> Vec<String> {
    let objects = sources.objects().into_iter();
    objects.map(|object| format!("{} {}", object.kind.resource(), object.name)).collect()
}

fn names(container: &Value) -> Vec<String> {
    names_of(&sources(container))
}

/// The text of the first source, and where it is from.
fn first(container: &Value) -> (String, String) {
    let sources = sources(container);
    let Some(Source::Setting(setting)) = sources.list.first() else { return Default::default() };
    match setting.parts.as_slice() {
        [Part::Text(text)] => (text.clone(), setting.describe()),
        _ => (String::new(), setting.describe()),
    }
}

fn value(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn secret_variable(name: &str, optional: bool) -> Value {
    let key = json!({"name": "a", "key": "c", "optional": optional});
    json!({"name": name, "valueFrom": {"secretKeyRef": key}})
}

fn env(variables: &[Value]) -> Value {
    json!({"name": "app", "env": variables})
}

#[test]
fn a_well_known_variable_is_the_only_source_unless_it_is_optional() {
    let container = |variable: &Value| {
        json!({"name": "app", "env": [variable],
            "envFrom": [{"secretRef": {"name": "imported"}}],
            "volumeMounts": [{"name": "home", "mountPath": "/root"}]})
    };
    let plain = container(&value("RELEASE_COOKIE", "x"));
    assert_eq!(names(&plain), [""; 0]);
    assert_eq!(first(&plain), ("x".into(), "RELEASE_COOKIE of container app".into()));
    let required = secret_variable("RELEASE_COOKIE", false);
    assert_eq!(names(&container(&required)), ["secrets a"]);
    for name in [
        "RABBITMQ_ERLANG_COOKIE",
        "COUCHDB_ERLANG_COOKIE",
        "EMQX_NODE__COOKIE",
        "DOCKER_VERNEMQ_DISTRIBUTED_COOKIE",
        "LIVEBOOK_COOKIE",
    ] {
        assert_eq!(names(&container(&secret_variable(name, false))), ["secrets a"], "{name}");
    }
    let optional = secret_variable("RELEASE_COOKIE", true);
    assert_eq!(
        names(&container(&optional)),
        ["secrets a", "secrets imported", "secrets cookie-file"]
    );
}

#[test]
fn another_variable_comes_after_cookie_files_and_well_known_names() {
    let container = json!({"name": "app", "env": [secret_variable("MY_COOKIE", false)],
    "envFrom": [
        {"configMapRef": {"name": "first"}, "prefix": "P_"},
        {"secretRef": {"name": "last"}},
    ],
    "volumeMounts": [
        {"name": "home", "mountPath": "/root"},
        {"name": "map", "mountPath": "/x/.erlang.cookie", "subPath": "key"},
        {"name": "other", "mountPath": "/etc/tls"},
    ]});
    let expected = [
        "secrets last",
        "configmaps first",
        "secrets cookie-file",
        "configmaps cookie-map",
        "secrets a",
    ];
    assert_eq!(names(&container), expected);
    let sources = sources(&container);
    let described: Vec<_> = sources
        .list
        .iter()
        .filter_map(|source| match source {
            Source::Setting(setting) => Some(setting.describe()),
            Source::File(file) => Some(file.describe(&file.keys[0])),
            Source::Imports(_) => None,
        })
        .collect();
    assert_eq!(
        described,
        [
            "Secret cookie-file, key .erlang.cookie (a file of container app)",
            "ConfigMap cookie-map, key key (a file of container app)",
            "Secret a, key c (MY_COOKIE of container app)",
        ]
    );
}

#[test]
fn the_last_variable_of_a_name_and_the_best_name_win() {
    let container =
        env(&[value("MY_COOKIE", "1"), value("ERLANG_COOKIE", "2"), value("ERLANG_COOKIE", "3")]);
    assert_eq!(first(&container), ("3".into(), "ERLANG_COOKIE of container app".into()));
}

#[test]
fn references_lead_to_values_and_keys() {
    let cookie = |text| value("RELEASE_COOKIE", text);
    let other = || secret_variable("OTHER", false);
    assert_eq!(names(&env(&[other(), cookie("$(OTHER)")])), ["secrets a"]);
    let expected = "Secret a, key c (RELEASE_COOKIE of container app)";
    assert_eq!(first(&env(&[other(), cookie("$(OTHER)")])).1, expected);
    let stage = value("STAGE", "prod");
    assert_eq!(first(&env(&[stage.clone(), cookie("x-$(STAGE)")])).0, "x-prod");
    // A part of it is in a Secret.
    let mixed = env(&[other(), stage, cookie("$(STAGE)-$(OTHER)")]);
    assert_eq!(names(&mixed), ["secrets a"]);
    assert_eq!(first(&mixed).1, "RELEASE_COOKIE of container app");
    // Defined later, and nowhere: the kubelet leaves the text.
    assert_eq!(names(&env(&[cookie("$(OTHER)"), other()])), [""; 0]);
    assert!(sources(&env(&[cookie("$(NOBODY)")])).list.is_empty());
    // A variable of `envFrom`.
    let imported = json!({"name": "app", "env": [cookie("$(TOKEN)")],
        "envFrom": [{"secretRef": {"name": "tokens"}}]});
    assert_eq!(names(&imported), ["secrets tokens"]);
    // Each refers to itself.
    let circle = env(&[value("A", "$(A)"), cookie("$(A)")]);
    assert!(sources(&circle).list.is_empty());
}

#[test]
fn an_option_of_the_vm_has_the_cookie() {
    for name in [
        "ERL_FLAGS",
        "ERL_AFLAGS",
        "ERL_ZFLAGS",
        "ELIXIR_ERL_OPTIONS",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        "ERLANG_OPTS",
    ] {
        let container = env(&[value(name, "-name couchdb -setcookie monster +A 16")]);
        let source = format!("-setcookie in {name} of container app");
        assert_eq!(first(&container), ("monster".into(), source));
        assert_eq!(names(&container), [""; 0]);
    }
    let arguments =
        json!({"name": "app", "command": ["erl"], "args": ["-setcookie", "x", "-noinput"]});
    let source = "-setcookie in the command line of container app".to_owned();
    assert_eq!(first(&arguments), ("x".into(), source));
    // The shell or the kubelet replaces a variable, and the VM's option wins over other sources.
    for word in ["$(THE)", "$THE", "\"${THE}\""] {
        let line = format!("exec erl -name a@b -setcookie {word} -noinput");
        let container = json!({"name": "app", "command": ["sh", "-c", line],
            "env": [secret_variable("THE", false), value("MY_COOKIE", "web")],
            "envFrom": [{"secretRef": {"name": "imported"}}]});
        assert_eq!(names(&container), ["secrets a"], "{word}");
        let source = "Secret a, key c (-setcookie in the command line of container app)";
        assert_eq!(first(&container).1, source);
    }
    let elixir = json!({"name": "app", "args": ["elixir --name a@b --cookie y -S mix"]});
    assert_eq!(first(&elixir).0, "y");
    // The options as a whole are in a Secret, where the cookie may be.
    let options = env(&[secret_variable("ERL_FLAGS", false), value("MY_COOKIE", "web")]);
    assert_eq!(names(&options), ["secrets a"]);
    assert!(sources(&env(&[value("ERL_FLAGS", "-setcookie")])).list.is_empty());
    // Only the shell in the container knows it.
    for command in ["$(cat /run/cookie)", "`cat /run/cookie`"] {
        let line = format!("exec erl -setcookie {command} -noinput");
        let container = json!({"name": "app", "command": ["sh", "-c", line]});
        assert!(sources(&container).list.is_empty(), "{command}");
    }
}

fn mounting(name: &str, variable: &str) -> Value {
    json!({"name": "app", "env": [value("DIR", "/opt/secrets"), value("RABBITMQ_ERL_COOKIE_FILE", variable)],
    "envFrom": [{"secretRef": {"name": "imported"}}],
    "volumeMounts": [
        {"name": "empty", "mountPath": "/opt"},
        {"name": name, "mountPath": "/opt/secrets/"},
    ]})
}

fn files(sources: &Sources) -> Vec<String> {
    let files = sources.list.iter().filter_map(|source| match source {
        Source::File(file) => Some(file.describe(&file.keys.join(" or "))),
        _ => None,
    });
    files.collect()
}

#[test]
fn a_variable_names_the_file_of_the_cookie() {
    let becomes = "the file in RABBITMQ_ERL_COOKIE_FILE of container app";
    for (volume, path, expected) in [
        ("other", "$(DIR)/erlang-cookie", "Secret tls, key erlang-cookie"),
        ("map", "/opt/secrets/c", "ConfigMap cookie-map, key c"),
        ("renamed", "/opt/secrets/.erlang.cookie", "Secret all, key erl"),
        ("projected", "/opt/secrets/the-cookie", "Secret all, key erl"),
    ] {
        let sources = sources(&mounting(volume, path));
        assert_eq!(files(&sources)[0], format!("{expected} ({becomes})"), "{volume}");
        // The file is there, so nothing else is read.
        assert_eq!(sources.objects().len(), 1, "{volume}");
    }
    // Not a file of the mounts, or in a volume without an object.
    for path in ["/opt/secrets-2/x", "/opt/x", "/elsewhere", "$(NOBODY)/x"] {
        assert_eq!(files(&sources(&mounting("other", path))), [""; 0], "{path}");
    }
    let by_sub_path = json!({"name": "app", "env": [value("COOKIE_FILE", "/run/cookie")],
        "volumeMounts": [{"name": "other", "mountPath": "/run/cookie", "subPath": "erl"}]});
    assert!(files(&sources(&by_sub_path))[0].starts_with("Secret tls, key erl ("));
}

#[test]
fn a_projected_volume_is_a_volume() {
    let container = json!({"name": "app", "volumeMounts": [
        {"name": "projected", "mountPath": "/home/app/.erlang.cookie", "subPath": "the-cookie"},
    ]});
    let expected = [
        "Secret all, key erl (a file of container app)",
        "Secret tls, key the-cookie (a file of container app)",
    ];
    assert_eq!(files(&sources(&container)), expected);
}

#[test]
fn an_init_container_may_copy_the_cookie() {
    // As the RabbitMQ cluster operator does.
    let init = json!({"name": "setup-container", "volumeMounts": [
        {"name": "other", "mountPath": "/tmp/tls"},
        {"name": "home", "mountPath": "/tmp/erlang-cookie-secret/"},
        {"name": "empty", "mountPath": "/var/lib/rabbitmq/"},
    ]});
    let container = json!({"name": "rabbitmq", "volumeMounts": [
        {"name": "empty", "mountPath": "/var/lib/rabbitmq/"}]});
    let sources = sources_with(&container, &init);
    assert_eq!(names_of(&sources), ["secrets cookie-file"]);
    assert!(files(&sources)[0].starts_with("Secret cookie-file, key .erlang.cookie or "));
    assert!(files(&sources)[0].ends_with("(a file of init container setup-container)"));
    let renamed = json!({"name": "init", "volumeMounts": [{"name": "renamed", "mountPath": "/x"}]});
    let expected = ["Secret all, key erl (a file of init container init)"];
    assert_eq!(files(&sources_with(&container, &renamed)), expected);
}

#[test]
fn a_spec_that_expands_without_end_has_no_cookie() {
    let many = |name: &str| format!("$({name})").repeat(200);
    let names = ["A", "B", "C", "D", "E", "F"];
    let mut variables = vec![value("A", "x")];
    variables.extend(names.windows(2).map(|pair| value(pair[1], &many(pair[0]))));
    variables.push(value("RELEASE_COOKIE", &many("F")));
    assert!(sources(&env(&variables)).list.is_empty());
    let imports = (0..5000).map(|number| json!({"secretRef": {"name": format!("s{number}")}}));
    let imports: Vec<_> = imports.collect();
    let container = json!({"name": "app", "env": [value("MY_COOKIE", "$(X)")], "envFrom": imports});
    assert_eq!(names_of(&sources(&container)).len(), 64);
}

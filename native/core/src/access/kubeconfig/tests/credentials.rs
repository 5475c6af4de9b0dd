//! Logins, and what is not taken as one.

use super::*;

#[test]
fn auth_providers_that_were_removed() {
    for (provider, replacement) in
        [("gcp", Some("gke-gcloud-auth-plugin")), ("azure", Some("kubelogin")), ("x", None)]
    {
        let user = format!("auth-provider: {{name: {provider}}}");
        let files = Files::new(&[("a", &MINE.replace("token: my-secret-token", &user))]);
        let Err(Error::UnsupportedAuthProvider { replacement: suggested, .. }) =
            resolved(&files.file("a"), None)
        else {
            panic!("{provider}")
        };
        assert_eq!(suggested, replacement);
    }
}

#[test]
fn exec_entries_that_are_invalid() {
    let files = Files::new(&[("b", OTHER)]);
    assert!(resolved(&files.file("b"), Some("cloud")).is_ok());
    for (from, to) in [("io/v1}", "io/v1alpha1}"), ("command: aws", "command: ''")] {
        let files = Files::new(&[("b", &OTHER.replace(from, to))]);
        let error = resolved(&files.file("b"), Some("cloud")).unwrap_err();
        assert!(matches!(error, Error::InvalidUser { .. }), "{error:?}");
    }
}

#[test]
fn a_plugins_path_is_relative_to_its_kubeconfig() {
    let files = Files::new(&[("b", &OTHER.replace("command: aws", "command: ./bin/aws"))]);
    let config = resolved(&files.file("b"), Some("cloud")).unwrap();
    let LoginMethod::Exec(exec) = config.login else { panic!("{:?}", config.login) };
    assert_eq!(PathBuf::from(exec.command), files.path("bin/aws"));
}

#[test]
fn a_pods_service_account_where_there_is_no_kubeconfig() {
    let files = Files::new(&[("token", "t"), ("ca.crt", CA), ("namespace", "shop\n"), ("a", MINE)]);
    let source = Source {
        service_account: Some(files.0.path().into()),
        environment: environment(&[
            ("KUBERNETES_SERVICE_HOST", "fd00::1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ]),
        ..Source::default()
    };
    let config = resolved(&source, None).unwrap();
    assert_eq!((config.context.as_str(), config.namespace.as_str()), ("in-cluster", "shop"));
    assert_eq!(config.kube.cluster_url, "https://[fd00::1]:443/");
    let asked = resolved(&source, Some("prod"));
    assert!(matches!(asked, Err(Error::NotFound { .. })));
    let with_file = Source { file: Some(files.path("a")), ..source.clone() };
    assert_eq!(resolved(&with_file, None).unwrap().context, "mine");
    fs::remove_file(files.path("ca.crt")).unwrap();
    assert!(matches!(resolved(&source, None), Err(Error::InvalidServiceAccount { .. })));
    fs::remove_file(files.path("token")).unwrap();
    assert!(matches!(resolved(&source, None), Err(Error::NotFound { .. })));
}

#[test]
fn missing_credential_files() {
    let missing =
        MINE.replace("token: my-secret-token", "client-certificate: crt, client-key: key");
    let files = Files::new(&[("a", &missing)]);
    let error = resolved(&files.file("a"), None).unwrap_err();
    assert!(
        matches!(&error, Error::InvalidUser { problem, .. } if problem.contains("client-cert")),
        "{error:?}"
    );
}

/// A proxy on the way could keep them.
#[test]
fn no_credentials_and_no_plugin_for_a_server_without_tls() {
    let exec = "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}";
    for user in
        ["token: secret", "tokenFile: /etc/hostname", "username: me, password: secret", exec]
    {
        for server in ["http://127.0.0.1:1", "127.0.0.1:1", "localhost:1"] {
            let text = MINE.replace("token: my-secret-token", user);
            let files = Files::new(&[("a", &text.replace("https://127.0.0.1:6443", server))]);
            let config = resolved(&files.file("a"), None).unwrap();
            assert!(matches!(config.login, LoginMethod::None), "{user} {server}");
            assert_eq!(config.kube.cluster_url.scheme_str(), Some("http"));
        }
    }
}

#[test]
fn logins_that_kubectl_refuses() {
    let exec = "exec: {command: x, apiVersion: client.authentication.k8s.io/v1}";
    let users = [
        "token: secret, username: me",
        "tokenFile: /t, username: me, password: secret",
        "client-certificate: /etc/hostname",
        "as-groups: [admins]",
        &format!("{exec}, auth-provider: {{name: oidc}}"),
        "auth-provider: {name: oidc, config: {idp-issuer-url: 'https://a'}}",
        "exec: {command: x}",
        "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Sometimes}",
        "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, env: [{value: v}]}",
    ];
    for user in users {
        let files = Files::new(&[("a", &MINE.replace("token: my-secret-token", user))]);
        let error = resolved(&files.file("a"), None).unwrap_err();
        assert!(matches!(error, Error::InvalidUser { .. }), "{user}: {error:?}");
    }
}

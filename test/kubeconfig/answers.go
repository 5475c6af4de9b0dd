package main

import (
	"fmt"
	"strings"
)

const (
	stableVersion = "client.authentication.k8s.io/v1"
	betaVersion   = "client.authentication.k8s.io/v1beta1"
	head          = "apiVersion: " + stableVersion + "\nkind: ExecCredential\n"
	header        = `{"apiVersion": "` + stableVersion + `", "kind": "ExecCredential", `
)

var versions = []string{
	stableVersion, betaVersion, "client.authentication.k8s.io/v1alpha1", "client.authentication.k8s.io/v2", "v1", "other/v1", "client.authentication.k8s.io/",
	"client.authentication.k8s.io/__internal", "/v1", "a/b/c", "CLIENT.authentication.k8s.io/v1",
}

// statusLines are lines of the status, or its value after a space.
var statusLines = []string{
	"", " null", " {}", " []", " x", " 1", " true", " {token: t}", " [token]", " !!map {token: t}",
	"token: secret", "token: ''", "token: null", "token: ~", "token: 1234", "token: yes", "token: 1.5", "token: 2020-01-02", "token: !!str 1234",
	"token: !!binary c2VjcmV0", "token: [t]", "token: {a: b}", "token: |\n  se\n  cret", "token: |\n  secret", "token: >-\n  se\n  cret",
	"token: ' secret'", "token: 'é'", "token: \"a\\tb\"", "token: \"a\\0b\"", "token: \"a\\nb\"", "token: \"secret\\n\"", "token: \"\\u007f\"", "token: \" \"",
	"token: 0x10", "token: 010", "token: .inf", "token: 1e3", "token: first\ntoken: second", "Token: secret", "TOKEN: secret", "token: secret\nToken: other",
	"token: &a secret\nother: *a", "<<: {token: secret}", "token: secret\nunknown: {a: [1]}", "token: " + strings.Repeat("x", 20000),
}

// times are values of expirationTimestamp.
var times = []string{
	"null", "''", "~", "1", "true", "[]", "{}", "x", "2000-01-02T03:04:05Z", "2099-01-02T03:04:05Z", "'2099-01-02T03:04:05Z'", "'2000-01-02T03:04:05Z'",
	"'2099-01-02T03:04:05+01:00'", "'2000-01-02T03:04:05-01:00'", "'2099-01-02T03:04:05.123456789Z'", "'2099-01-02T03:04:05.1234567890123Z'",
	"'2099-01-02T03:04:05,5Z'", "'2099-01-02t03:04:05z'", "'2099-01-02 03:04:05Z'", "2099-01-02 03:04:05Z", "2099-01-02", "'2099-01-02'", "'2099-01-02T03:04Z'",
	"'2099-01-02T03:04:05'", "'2099-01-02T3:04:05Z'", "'2099-1-2T03:04:05Z'", "'2099-01-02T03:04:60Z'", "'2016-12-31T23:59:60Z'", "'2099-01-02T24:00:00Z'",
	"'2099-02-29T03:04:05Z'", "'2099-13-01T03:04:05Z'", "'0001-01-01T00:00:00Z'", "'0001-01-01T00:00:00+01:00'", "'0000-01-01T00:00:00Z'", "'9999-12-31T23:59:59Z'",
	"'10000-01-01T00:00:00Z'", "'-001-01-01T00:00:00Z'", "'+2099-01-02T03:04:05Z'", "'2099-01-02T03:04:05+24:00'", "'2099-01-02T03:04:05+23:59'",
	"'2099-01-02T03:04:05-00:00'", "'2099-01-02T03:04:05+0100'", "'2099-01-02T03:04:05+01'", "'2099-01-02T03:04:05.Z'", "'2099-01-02T03:04:05Z '",
	"' 2099-01-02T03:04:05Z'", "'2099-01-02T03:04:05ZZ'", "'2099-01-02T03:04:05[UTC]'", "'2099-01-02T03:04:05Z[UTC]'", "'20990102T030405Z'", "'2099-W01-1T00:00:00Z'",
	"'4085737445'", "4085737445", "!!timestamp 2099-01-02T03:04:05Z",
}

// answerTexts are whole answers.
var answerTexts = []string{
	"", " \n\t", "null", "~", "[]", "{}", "secret", "'secret'", "1", "{", "}", "---", "...", "# only\n", "\xff\xfe", "k8s\x00", "\xd9\xd9\xf7\xa0",
	header + `"status": {"token": "secret"}}`, " \n" + header + `"status": {"token": "secret"}}` + "\n\n", "\ufeff" + header + `"status": {"token": "secret"}}`,
	header + `"status": {"token": "secret"}} trailing`, header + `"status": {"token": "secret"}}` + header + `"status": {"token": "other"}}`,
	header + `"status": {"token": "secret"},}`, header + `"status": {"token": "secret",}}`, header + `"status": {"token": "secret"}`, header + `'status': {'token': 'secret'}}`,
	header + `status: {token: secret}}`, header + `"status": {"token": "secret"} /* c */}`, "// c\n" + header + `"status": {"token": "secret"}}`,
	header + `"status": {"token": "first"}, "status": {"token": "second"}}`, header + `"status": {"token": "first", "token": "second"}}`,
	header + `"Status": {"token": "secret"}}`, header + `"STATUS": {"token": "a"}, "status": {"token": "secret"}}`, header + `"status": {"token": "se\u0063ret\ud83d\ude00"}}`,
	header + `"status": {"token": "\ud83d"}}`, header + `"status": {"token": "a` + "\xff" + `b"}}`, header + `"status": {"token": "a` + "\n" + `b"}}`,
	header + `"status": {"token": 1}}`, header + `"status": {"token": true}}`, header + `"status": {"token": null}}`, header + `"status": {"token": 1e400}}`,
	header + `"status": null}`, header + `"status": "x"}`, header + `"status": {"token": "t"}, "kind": "Other"}`, header + `"status": {"token": "t"}, "apiVersion": "v1"}`,
	header + `"spec": null, "status": {"token": "t"}}`, header + `"spec": {"interactive": null}, "status": {"token": "t"}}`, header + `"spec": [], "status": {"token": "t"}}`,
	`{"apiVersion": 1, "kind": "ExecCredential", "status": {"token": "t"}}`, `{"apiVersion": null, "kind": "ExecCredential", "status": {"token": "t"}}`,
	`{"apiversion": "` + stableVersion + `", "kind": "ExecCredential", "status": {"token": "t"}}`, `{"kind": "ExecCredential", "status": {"token": "t"}}`,
	`{"apiVersion": "` + stableVersion + `", "status": {"token": "t"}}`, `{"apiVersion": "` + stableVersion + `", "kind": "", "status": {"token": "t"}}`, `{"status": {"token": "t"}}`,
	`{"apiVersion": "` + stableVersion + `", "kind": null, "status": {"token": "t"}}`, `{"apiVersion": "` + stableVersion + `", "kind": 1, "status": {"token": "t"}}`,
	`{"apiVersion": "` + stableVersion + `", "kind": "execcredential", "status": {"token": "t"}}`, `{"apiVersion": "` + stableVersion + `", "kind": "Status", "status": {"token": "t"}}`,
	"[" + header + `"status": {"token": "secret"}}]`,
	"---\n" + head + "status: {token: secret}\n", "---\n---\n" + head + "status: {token: secret}\n", head + "status: {token: secret}\n---\n" + head + "status: {token: other}\n",
	head + "status: {token: secret}\n---\n", head + "status: {token: secret}\n...\n", head + "status: {token: secret}\n...\ntrailing", "%YAML 1.1\n---\n" + head + "status: {token: secret}\n",
	"\ufeff" + head + "status: {token: secret}\n", "# c\n" + head + "status: {token: secret} # c\n", head + "\tstatus: {token: secret}\n", "text\n" + head + "status: {token: secret}\n",
	head + "status: {token: first}\nstatus: {token: second}\n", head + "kind: ExecCredential\nstatus: {token: secret}\n", head + "status: {token: first, token: second}\n",
	head + "status: {token: secret}\r\n", strings.ReplaceAll(head+"status:\n  token: secret\n", "\n", "\r\n"), head + "Status: {token: secret}\n", head + "status: {'token': secret}\n",
	head + "status: {token: secret}\nmetadata: {name: x}\n", head + "status: {token: secret}\n1: x\n", head + "status: {token: secret}\ntrue: x\n", head + "status: {token: secret}\n? [a]\n: x\n",
	head + "spec:\nstatus: {token: secret}\n", head + "spec: {interactive: true}\nstatus: {token: secret}\n", head + "spec: {interactive: 'true'}\nstatus: {token: secret}\n",
	head + "spec: {cluster: null}\nstatus: {token: secret}\n", head + "spec: {cluster: {server: 1}}\nstatus: {token: secret}\n", head + "spec: {cluster: {server: a, config: {x: 1}}}\nstatus: {token: secret}\n",
	head + "spec: {cluster: {certificate-authority-data: '?'}}\nstatus: {token: secret}\n",
	head + "spec: {cluster: {insecure-skip-tls-verify: yes}}\nstatus: {token: secret}\n", head + "spec: {cluster: {proxy-url: 1}}\nstatus: {token: secret}\n",
	head + "spec: {response: {code: 401}}\nstatus: {token: secret}\n", head + "spec: {cluster: {config: 1}}\nstatus: {token: secret}\n", head + "spec: {cluster: []}\nstatus: {token: secret}\n",
}

// identities are pairs of a certificate and a key.
func identities() [][2]string {
	other, otherKey := selfSigned()
	crlf := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	return [][2]string{
		{certificate, key}, {certificate, ""}, {"", key}, {"", ""}, {certificate, otherKey}, {other, key}, {"x", "y"}, {certificate, "y"}, {"x", key}, {key, certificate},
		{certificate + other, key}, {other + certificate, key}, {key + certificate, key}, {certificate + key, certificate + key}, {"text\n" + certificate, "text\n" + key},
		{crlf(certificate), crlf(key)}, {strings.TrimSpace(certificate), strings.TrimSpace(key)}, {base64Of(certificate), base64Of(key)}, {" ", " "},
		{strings.ReplaceAll(certificate, "CERTIFICATE", "X509 CERTIFICATE"), key}, {strings.ReplaceAll(certificate, "CERTIFICATE", "TRUSTED CERTIFICATE"), key},
		{certificate, strings.ReplaceAll(key, "PRIVATE KEY", "EC PRIVATE KEY")}, {certificate, strings.ReplaceAll(key, "PRIVATE KEY", "RSA PRIVATE KEY")},
		{certificate, strings.ReplaceAll(key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")}, {certificate, strings.ReplaceAll(key, "PRIVATE KEY", "OTHER")}, {certificate, key + otherKey},
		{certificate, otherKey + key}, {strings.ReplaceAll(certificate, "\n", ""), key}, {certificate[:len(certificate)/2], key}, {certificate, key[:len(key)/2]},
		{certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key}, {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + certificate, key},
	}
}

func allAnswers() []Answer {
	var answers []Answer
	add := func(name, text string) {
		answers = append(answers, Answer{Name: name, Text: []byte(text), Version: stableVersion})
	}
	for _, configured := range []string{stableVersion, betaVersion} {
		for _, version := range versions {
			answers = append(answers, Answer{
				Name:    configured + " and " + version,
				Text:    fmt.Appendf(nil, "apiVersion: '%s'\nkind: ExecCredential\nstatus: {token: secret}\n", version),
				Version: configured,
			})
			answers = append(answers, Answer{
				Name:    configured + " and " + version + " in JSON",
				Text:    fmt.Appendf(nil, `{"apiVersion": "%s", "kind": "ExecCredential", "status": {"token": "secret"}}`, version),
				Version: configured,
			})
		}
	}
	for _, lines := range statusLines {
		if lines != "" && lines[0] != ' ' {
			lines = "\n  " + strings.ReplaceAll(lines, "\n", "\n  ")
		}
		add("status:"+lines[:min(len(lines), 80)], head+"status:"+lines+"\n")
	}
	for _, time := range times {
		add("expirationTimestamp: "+time, head+"status:\n  token: secret\n  expirationTimestamp: "+time+"\n")
	}
	for index, document := range answerTexts {
		add(fmt.Sprintf("document %d: %.80q", index, document), document)
	}
	for _, depth := range []int{50, 200, 20000} {
		nested := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		add(fmt.Sprint("deep: ", depth), header+`"status": {"token": "t", "nested": `+nested+`}}`)
	}
	add("list of bytes", head+"spec: {cluster: {certificate-authority-data: [1]}}\nstatus: {token: secret}\n")
	for index, pair := range identities() {
		for _, token := range []string{"", "secret"} {
			text := fmt.Sprintf(header+`"status": {"token": %q, "clientCertificateData": %q, "clientKeyData": %q}}`, token, pair[0], pair[1])
			add(fmt.Sprintf("identity %d, token %q", index, token), text)
		}
	}
	for _, field := range []string{"clientCertificateData", "clientKeyData"} {
		for _, value := range []string{"null", "''", "1", "[a]", "x"} {
			add(field+": "+value, head+"status: {token: secret, "+field+": "+value+"}\n")
		}
	}
	return answers
}

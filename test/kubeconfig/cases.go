package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"strings"
	"unicode/utf16"
)

type testCase struct {
	name    string
	files   []string
	context string
}

// parts are the lines of one kubeconfig: those of the used cluster, user and context, and all others.
type parts struct {
	server, cluster, user, context []string
	before, after                  string
	current                        string
}

func plain() parts {
	return parts{
		server:  []string{"server: https://10.0.0.1:6443"},
		context: []string{"cluster: c", "user: u"},
		current: "current-context: x",
	}
}

// text is the kubeconfig in YAML's block style.
func (p parts) text() string {
	var out strings.Builder
	out.WriteString(p.before)
	entry := func(list, name, field string, lines []string) {
		fmt.Fprintf(&out, "%s:\n- name: %s\n  %s:", list, name, field)
		if len(lines) == 0 {
			out.WriteString(" {}")
		}
		out.WriteString("\n")
		for _, line := range lines {
			for _, one := range strings.Split(line, "\n") {
				fmt.Fprintf(&out, "    %s\n", one)
			}
		}
	}
	out.WriteString("apiVersion: v1\nkind: Config\n")
	entry("clusters", "c", "cluster", append(append([]string{}, p.server...), p.cluster...))
	entry("users", "u", "user", p.user)
	entry("contexts", "x", "context", p.context)
	out.WriteString(p.current + "\n")
	out.WriteString(p.after)
	return out.String()
}

// wrapped is base64 in lines, for a block scalar.
func wrapped(text string) string {
	encoded, lines := base64Of(text), []string{}
	for len(encoded) > 76 {
		lines, encoded = append(lines, "  "+encoded[:76]), encoded[76:]
	}
	return strings.Join(append(lines, "  "+encoded), "\n")
}

var version = "apiVersion: client.authentication.k8s.io/v1"

// exec is the entry of a plugin, with more lines in it.
func exec(more ...string) string {
	lines := append([]string{"exec:", "  command: aws", "  " + version, "  interactiveMode: Never"}, more...)
	return strings.Join(lines, "\n")
}

var servers = []string{
	"https://10.0.0.1:6443", "https://10.0.0.1:6443/", "HTTPS://a.example", "https://a.example/k8s/clusters/c-1",
	"https://a.example/p/?q=1#f", "https://a.example?q", "http://10.0.0.1:8080", "http://a/x/y/", "localhost:6443",
	"10.0.0.1:6443", "10.0.0.1", "kubernetes.default.svc", "a/b", "'[fd00::1]:6443'", "https://[fd00::1]:6443",
	"https://[fd00::1%25eth0]:6443", "https://me:se%40cret@a.example", "http://me@a.example", "https://a.example:",
	"ftp://a.example", "unix:///run/x", "'https://a b'", "' https://a'", "'https://a '", "https://a:port", "https://a:99999", "''", "null", "~",
	"1234", "yes", "https://", "https:///x", "//a.example", "'https://a|b'", "'https://a/%zz'", "'https://a/%20b'", "[https://a]",
	"'://a'", "':1'", "https:a.example", "\"https://a.example\\n\"", "!!str https://a.example", "https://ä.example",
}

var clusterLines = []string{
	"certificate-authority-data: " + base64Of(certificate),
	"certificate-authority-data: |\n" + wrapped(certificate),
	"certificate-authority-data: >-\n" + wrapped(certificate),
	"certificate-authority-data: !!binary " + base64Of(base64Of(certificate)),
	"certificate-authority-data: !!binary " + base64Of(certificate),
	"certificate-authority-data: !!binary |\n" + wrapped(wrapped(certificate)),
	"certificate-authority-data: ''", "certificate-authority-data: null", "certificate-authority-data:",
	"certificate-authority-data: '?'", "certificate-authority-data: aGVsbG8=", "certificate-authority-data: aGVsbG8",
	"certificate-authority-data: 1234", "certificate-authority-data: [a]", "certificate-authority-data: 'aGVs bG8='",
	"certificate-authority: ca.crt", "certificate-authority: ./../x/../ca.crt", "certificate-authority: gone.crt",
	"certificate-authority: text", "certificate-authority: ''", "certificate-authority: null", "certificate-authority: .",
	"certificate-authority: ca.crt\ncertificate-authority-data: ''",
	"certificate-authority: ''\ncertificate-authority-data: " + base64Of(certificate),
	"certificate-authority: ca.crt\ncertificate-authority-data: " + base64Of(certificate),
	"certificate-authority: gone.crt\ncertificate-authority-data: " + base64Of(certificate),
	"insecure-skip-tls-verify: true", "insecure-skip-tls-verify: yes", "insecure-skip-tls-verify: 'true'",
	"insecure-skip-tls-verify: null", "insecure-skip-tls-verify: 1", "insecure-skip-tls-verify: off",
	"insecure-skip-tls-verify: true\ncertificate-authority: ca.crt",
	"insecure-skip-tls-verify: true\ncertificate-authority: ''",
	"tls-server-name: b.example", "tls-server-name: ''", "tls-server-name: null", "tls-server-name: 1.5", "tls-server-name: 1.2.3.4",
	"proxy-url: http://p:3128", "proxy-url: https://p", "proxy-url: socks5://p:1080", "proxy-url: http://me:pw@p:1", "proxy-url: ''",
	"proxy-url: null", "proxy-url: ftp://p", "proxy-url: p:3128", "proxy-url: 10.0.0.1:3128", "proxy-url: 'http://p q'", "proxy-url: true",
	"disable-compression: true", "disable-compression: null", "disable-compression: 'no'", "unknown: {a: [1, 2]}", "unknown: .inf",
	"Server: http://other", "server: https://10.0.0.2:6443", "extensions: null", "extensions: []", "extensions: {a: b}",
	"extensions:\n- name: a\n  extension: {b: 1}\n- name: a\n  extension: {b: 2}",
	"extensions:\n- name: a\n  extension: null\n- name: a\n  extension: null",
	"extensions:\n- name: client.authentication.k8s.io/exec\n  extension: {audience: x, n: 1, list: [true, null]}",
	"extensions: [null]", "extensions:\n- extension: text",
}

var userLines = []string{
	"", "token: secret", "token: ''", "token: null", "token: 1234", "token: yes", "token: 0x10", "token: '0x10'", "token: 2020-01-02",
	"token: 1e3", "token: ~", "token: !!str 1234", "token: !!int 'x'", "token: 08", "token: 1_0", "token: .5", "token: -", "token: <<",
	"token: |\n  secret", "token: |-\n  secret", "token: >-\n  se\n  cret", "token: \"se\\x63ret\"", "token: !mine secret", "token: !!binary c2VjcmV0",
	"token: [a]", "token: {a: b}", "token: first\ntoken: second", "Token: secret", "tokenFile: token", "tokenFile: ./token", "tokenFile: gone",
	"tokenFile: empty", "tokenFile: ''", "tokenFile: null", "tokenFile: token\ntoken: secret", "tokenFile: gone\ntoken: secret",
	"tokenFile: empty\ntoken: secret", "tokenFile: ''\ntoken: secret", "username: me\npassword: pw", "username: me", "password: pw",
	"username: ''\npassword: ''", "username: me\npassword: ''", "username: 'a:b'\npassword: 'ä'", "username: 1", "username: me\ntoken: secret",
	"password: pw\ntoken: secret", "username: me\ntokenFile: token", "password: pw\ntokenFile: token",
	"client-certificate: client.crt\nclient-key: client.key", "client-certificate: gone\nclient-key: client.key",
	"client-certificate: client.crt\nclient-key: gone", "client-certificate: client.crt", "client-key: client.key",
	"client-key: gone", "client-certificate: ''\nclient-key: ''", "client-certificate: text\nclient-key: client.key",
	"client-certificate-data: " + base64Of(certificate) + "\nclient-key-data: " + base64Of(key),
	"client-certificate-data: |\n" + wrapped(certificate) + "\nclient-key-data: |\n" + wrapped(key),
	"client-certificate-data: " + base64Of(certificate) + "\nclient-key: client.key",
	"client-certificate: client.crt\nclient-key-data: " + base64Of(key),
	"client-certificate: ''\nclient-key: ''\nclient-certificate-data: " + base64Of(certificate) + "\nclient-key-data: " + base64Of(key),
	"client-certificate: client.crt\nclient-certificate-data: " + base64Of(certificate) + "\nclient-key: client.key",
	"client-certificate: client.crt\nclient-key: client.key\nclient-key-data: " + base64Of(key),
	"client-certificate-data: ''\nclient-key-data: null\ntoken: secret", "client-certificate-data: '?'\ntoken: secret",
	"client-key-data: '?'\ntoken: secret", "client-certificate: client.crt\nclient-key: client.key\ntoken: secret",
	"client-certificate: client.crt\nclient-key: client.key\n" + exec(), "client-certificate: ''\n" + exec(),
	exec(), "exec: null", "exec: {}", "exec: []", "exec: ''", "username: ''\npassword: ''\n" + exec(), "username: me\n" + exec(), "password: pw\n" + exec(),
	"token: secret\n" + exec(), "token: ''\n" + exec(), "tokenFile: token\n" + exec(), "auth-provider: null\n" + exec(),
	exec("  args: null"), exec("  args: [get-token, '1']"), exec("  args: [1]"), exec("  args: [null]"), exec("  args: {}"),
	exec("  env: null"), exec("  env: [{name: A, value: b}]"), exec("  env: [{name: A}]"), exec("  env: [{name: A, value: null}]"),
	exec("  env: [{value: b}]"), exec("  env: [{name: A, value: 1}]"), exec("  env: [null]"), exec("  env: {A: b}"),
	exec("  env: [{name: A, value: 1}, {name: A, value: '2'}]"), exec("  env: [{name: A, value: '1'}, {name: A, value: '2'}]"),
	exec("  provideClusterInfo: true"), exec("  provideClusterInfo: null"), exec("  provideClusterInfo: 'true'"), exec("  provideClusterInfo: yes"),
	exec("  interactiveMode: Always"), exec("  interactiveMode: IfAvailable"), exec("  interactiveMode: ''"), exec("  interactiveMode: never"),
	exec("  interactiveMode: null"), exec("  installHint: try this"), exec("  installHint: 1"), exec("  command: ''"), exec("  command: null"),
	exec("  command: ./bin/aws"), exec("  command: ../aws"), exec("  command: /usr/bin/../bin/aws"), exec("  command: bin/aws"), exec("  apiVersion: null"),
	exec("  apiVersion: client.authentication.k8s.io/v1beta1"), exec("  apiVersion: client.authentication.k8s.io/v1alpha1"),
	exec("  apiVersion: client.authentication.k8s.io/v1beta1", "  interactiveMode: ''"), exec("  apiVersion: ''"), exec("  other: [1]"),
	"auth-provider: {name: gcp}", "auth-provider: {name: azure, config: {a: b}}", "auth-provider: {name: other}", "auth-provider: {}",
	"auth-provider:\n  name: oidc\n  config: {idp-issuer-url: 'https://issuer.example', client-id: me, id-token: secret}",
	"auth-provider:\n  name: oidc\n  config: {idp-issuer-url: 'https://issuer.example'}", "auth-provider: {name: oidc, config: null}",
	"token: secret\nauth-provider:\n  name: oidc\n  config: {idp-issuer-url: 'https://issuer.example', client-id: me}",
	"auth-provider: {name: oidc, config: {client-id: 1}}", "auth-provider: {name: oidc, config: {client-id: null}}",
	"token: secret\nauth-provider: {name: gcp}", "auth-provider: {name: oidc}\n" + exec(),
	"as: lead", "as: ''", "as: lead\nas-uid: '4'\nas-groups: [a, b]\nas-user-extra: {scopes: [x, y], a/b: [z]}", "as-groups: [a]",
	"as: ''\nas-groups: []", "as-uid: '4'", "as: lead\nas-groups: null\nas-user-extra: null", "as: lead\nas-groups: a", "as: lead\nas-user-extra: {a: b}",
	"as: lead\nas-user-extra: {a: null, 1: [x]}", "as: lead\ntoken: secret", "as: 1", "as: \"a\\nb\"", "extensions: null", "extensions: x", "unknown: y",
}

var contextLines = []string{
	"namespace: shop", "namespace: ''", "namespace: null", "namespace: 1234", "namespace: Bad_Name", "namespace: yes", "namespace: ../nodes",
	"extensions: null", "extensions: 1", "unknown: 1", "user: gone", "user: ''", "user: null", "user: 1", "cluster: gone", "cluster: ''", "cluster: null",
	"cluster: [c]",
}

// documents are changes to the file as a whole.
var documents = []func(p parts) string{
	func(p parts) string { return "\ufeff" + p.text() },
	func(p parts) string { return strings.ReplaceAll(p.text(), "\n", "\r\n") },
	func(p parts) string { return strings.ReplaceAll(p.text(), "\n", "\r") },
	func(p parts) string { return utf16Text(p.text(), binary.LittleEndian) },
	func(p parts) string { return utf16Text(p.text(), binary.BigEndian) },
	func(p parts) string { return "---\n" + p.text() },
	func(p parts) string { return "---\n" + p.text() + "...\n" },
	func(p parts) string { return p.text() + "---\ncurrent-context: other\n" },
	func(p parts) string { return p.text() + "---\n]broken[\n" },
	func(p parts) string { return "---\n---\n" + p.text() },
	func(p parts) string { return "# comment\n\n" + p.text() + "# end" },
	func(p parts) string { return "%YAML 1.1\n---\n" + p.text() },
	func(p parts) string { return "%YAML 1.2\n---\n" + p.text() },
	func(p parts) string { return "%TAG !e! tag:e,2020:\n---\n" + p.text() },
	func(p parts) string { return p.text() + "\t\n" },
	func(p parts) string { return p.text() + "a: b: c\n" },
	func(p parts) string { return p.text() + "a: 'open\n" },
	func(p parts) string { return p.text() + "a: \x01\n" },
	func(p parts) string { return p.text() + "a: \xff\n" },
	func(p parts) string { return p.text() + "a: @b\n" },
	func(p parts) string { return p.text() + "a: %b\n" },
	func(p parts) string { return p.text() + "a: `b`\n" },
	func(p parts) string { return p.text() + "? a\n: b\n" },
	func(p parts) string { return p.text() + "? [a]\n: b\n" },
	func(p parts) string { return p.text() + "~: b\n" },
	func(p parts) string { return p.text() + "1: b\n1.5: c\nyes: d\n" },
	func(p parts) string { return p.text() + "a: *gone\n" },
	func(p parts) string { return p.text() + "a: &a [*a]\n" },
	func(p parts) string { return p.text() + "a: &a {b: 1}\nc: {<<: *a, <<: {d: 2}}\n" },
	func(p parts) string { return p.text() + "a: {<<: 1}\n" },
	func(p parts) string { return p.text() + "a: !e!x b\n" },
	func(p parts) string {
		return strings.Replace(p.text(), "kind: Config", "kind: Config\nkind: Config", 1)
	},
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "kind: Pod\nkind: Config", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "kind: List", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "kind: null", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config\n", "", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "kind: 1", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "kind: Config\nKind: Pod", 1) },
	func(p parts) string { return strings.Replace(p.text(), "kind: Config", "Kind: Pod", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1", "apiVersion: v2", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1", "apiVersion: a/v1", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1", "apiVersion: /v1", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1", "apiVersion: a/b/c", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1", "apiVersion: ''", 1) },
	func(p parts) string { return strings.Replace(p.text(), "apiVersion: v1\n", "", 1) },
	func(p parts) string { return p.text() + "preferences: null\n" },
	func(p parts) string { return p.text() + "preferences: {colors: true, extensions: []}\n" },
	func(p parts) string { return p.text() + "preferences: {colors: 'x'}\n" },
	func(p parts) string { return p.text() + "preferences: []\n" },
	func(p parts) string {
		return p.text() + "extensions: [{name: a, extension: {}}, {name: a, extension: {}}]\n"
	},
	func(p parts) string { return p.text() + "extensions: null\nusers: null\n" },
	func(p parts) string { return p.text() + "clusters: {}\n" },
	func(p parts) string {
		return p.text() + "contexts: [null, {name: x, context: {cluster: c, user: u}}]\n"
	},
	func(p parts) string { return p.text() + "contexts: [null, null]\n" },
	func(p parts) string { return p.text() + "contexts: text\n" },
	unused("users", "user", "{token: 1}"), unused("users", "user", "{client-key-data: '?'}"), unused("users", "user", "{client-key: gone}"),
	unused("users", "user", "{exec: {}}"), unused("users", "user", "{exec: {provideClusterInfo: null, env: [{name: A}]}}"),
	unused("users", "user", "null"), unused("users", "user", "[]"), unused("users", "user", "{auth-provider: {name: gcp}}"),
	unused("clusters", "cluster", "{}"), unused("clusters", "cluster", "{server: 'https://a b'}"), unused("clusters", "cluster", "null"),
	unused("clusters", "cluster", "{certificate-authority: gone}"), unused("clusters", "cluster", "{insecure-skip-tls-verify: maybe}"),
	unused("contexts", "context", "{cluster: gone}"), unused("contexts", "context", "null"), unused("contexts", "context", "{namespace: []}"),
	func(p parts) string {
		return strings.Replace(p.text(), "users:\n", "users:\n- name: u\n  user: {token: other}\n", 1)
	},
	func(p parts) string {
		return strings.Replace(p.text(), "users:\n", "users:\n- name: 7\n  user: {token: other}\n", 1)
	},
	func(p parts) string {
		return strings.Replace(p.text(), "users:\n", "users:\n- user: {token: other}\n", 1)
	},
	func(p parts) string {
		return strings.Replace(p.text(), "clusters:\n", "clusters:\n- name: c\n  cluster: {}\n", 1)
	},
	func(p parts) string {
		return strings.Replace(p.text(), "current-context: x", "current-context: gone", 1)
	},
	func(p parts) string { return strings.Replace(p.text(), "current-context: x", "current-context: ''", 1) },
	func(p parts) string {
		return strings.Replace(p.text(), "current-context: x", "current-context: null", 1)
	},
	func(p parts) string { return strings.Replace(p.text(), "current-context: x", "current-context: 1", 1) },
	func(p parts) string { return strings.Replace(p.text(), "current-context: x", "", 1) },
	func(p parts) string { return "" }, func(p parts) string { return "null\n" }, func(p parts) string { return "text\n" },
	func(p parts) string { return "[]\n" }, func(p parts) string { return "# nothing\n" }, func(p parts) string { return "{}" },
	func(p parts) string { return "\t" }, func(p parts) string { return missing }, func(p parts) string { return "current-context: x\n" },
	func(p parts) string {
		return `{"clusters": [{"name": "c", "cluster": {"server": "https:\/\/10.0.0.1"}}], "current-context": "x",` + "\n\t" +
			`"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {"token": "\u0061"}}]}`
	},
	func(p parts) string {
		return "base: &base\n  server: https://10.0.0.9\n  insecure-skip-tls-verify: true\n" +
			strings.Replace(p.text(), "  cluster:\n    server", "  cluster:\n    <<: *base\n    server", 1)
	},
	func(p parts) string {
		return "base: &base {server: 'https://10.0.0.9'}\n" +
			strings.Replace(p.text(), "kind: Config", "kind: Config\nx: {<<: [*base, *base]}", 1)
	},
}

func unused(list, field, value string) func(parts) string {
	return func(p parts) string {
		return strings.Replace(p.text(), list+":\n", fmt.Sprintf("%s:\n- {name: unused, %s: %s}\n", list, field, value), 1)
	}
}

func utf16Text(text string, order binary.AppendByteOrder) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

func allCases() []testCase {
	cases := single()
	cases = append(cases, lists()...)
	return append(cases, combined(400)...)
}

// single has each change alone.
func single() []testCase {
	var cases []testCase
	add := func(kind string, index int, text string) {
		cases = append(cases, testCase{fmt.Sprintf("%s %d", kind, index), []string{text}, ""})
	}
	token := plain()
	token.user = []string{"token: secret"}
	for index, server := range servers {
		p := token
		p.server = []string{"server: " + server}
		add("server "+server, index, p.text())
	}
	for index, lines := range clusterLines {
		p := token
		p.cluster = []string{lines}
		add("cluster", index, p.text())
		p.user = []string{exec("  provideClusterInfo: true")}
		add("cluster of a plugin", index, p.text())
	}
	for index, lines := range userLines {
		p := plain()
		p.user = []string{lines}
		add("user", index, p.text())
		p.server = []string{"server: http://10.0.0.1:8080"}
		add("user over http", index, p.text())
	}
	for index, lines := range contextLines {
		p := token
		p.context = append(append([]string{}, p.context...), lines)
		add("context", index, p.text())
	}
	for index, document := range documents {
		add("document", index, document(token))
	}
	for _, context := range []string{"x", "gone", "unused"} {
		cases = append(cases, testCase{"context " + context, []string{unused("contexts", "context", "{cluster: c}")(token)}, context})
	}
	return cases
}

// lists are several files.
func lists() []testCase {
	a, b := plain(), plain()
	a.user, b.user = []string{"token: a"}, []string{"token: b", "tokenFile: token"}
	b.server = []string{"server: https://10.0.0.2"}
	b.context = append(b.context, "namespace: b")
	empty := a
	empty.current = "current-context: ''"
	named := strings.ReplaceAll(strings.ReplaceAll(b.text(), "name: c\n", "name: c2\n"), "cluster: c\n", "cluster: c2\n")
	texts := [][]string{
		{a.text(), b.text()}, {b.text(), a.text()}, {empty.text(), b.text()}, {missing, b.text()}, {missing, missing}, {"", b.text()},
		{"current-context: ''", b.text()}, {"current-context: y", b.text()}, {a.text(), "]["}, {"users: 1", b.text()}, {a.text(), named},
		{named, a.text()}, {"kind: Pod", b.text()}, {"users: [{name: u, user: null}]", b.text()}, {"clusters: [{name: c}]", b.text()},
		{"contexts: [{name: x, context: {cluster: c}}]", b.text()}, {a.text(), missing}, {a.text(), "contexts: null"},
	}
	var cases []testCase
	for index, files := range texts {
		cases = append(cases, testCase{fmt.Sprintf("list %d", index), files, ""})
	}
	return cases
}

// combined has several changes at once, the same ones in each run.
func combined(count int) []testCase {
	random := rand.New(rand.NewSource(18))
	pick := func(lines []string) []string {
		var picked []string
		for range random.Intn(3) {
			picked = append(picked, lines[random.Intn(len(lines))])
		}
		return picked
	}
	var cases []testCase
	for index := range count {
		p := plain()
		if random.Intn(3) == 0 {
			p.server = []string{"server: " + servers[random.Intn(len(servers))]}
		}
		p.cluster, p.user = pick(clusterLines), pick(userLines)
		if random.Intn(4) == 0 {
			p.context = append(p.context, pick(contextLines)...)
		}
		text := p.text()
		if random.Intn(4) == 0 {
			text = documents[random.Intn(len(documents))](p)
		}
		cases = append(cases, testCase{fmt.Sprintf("combined %d", index), []string{text}, ""})
	}
	return cases
}

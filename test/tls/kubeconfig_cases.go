package main

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"time"
)

func bundles() []testCase {
	root, other := newAuthority("kubernetes"), newAuthority("other")
	server := root.server()
	good, further := bundle(root), bundle(other)
	negative := newAuthority("negative", rewritten(func(t *tbsCertificate) { t.Serial = big.NewInt(-1) }))
	on := func(name string, authority ...[]byte) testCase {
		return testCase{name: "bundle: " + name, chain: chain(server), key: server.key, authority: bytes.Join(authority, nil)}
	}
	text := func(text string) []byte { return []byte(text) }
	garbage := block("CERTIFICATE", text("no certificate"))
	spoiled := bytes.Replace(good, text("MII"), text("M!I"), 1)
	headers := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: root.der})
	return []testCase{
		on("one"), on("two", further, good), on("garbage first", garbage, good), on("garbage last", good, garbage),
		on("broken base64 first", spoiled, good), on("broken base64 last", good, spoiled), on("negative serial beside it", bundle(negative), good),
		on("garbage alone", garbage), on("broken base64 alone", spoiled), on("negative serial alone", bundle(negative)),
		on("not PEM", text("kubernetes")), on("DER", root.der), on("other authority alone", further),
		on("text around", text("# kubernetes\nsubject=CN = kubernetes\n"), good, text("the end")),
		on("text between", further, text("\n\n# next\n"), good), on("without the last newline", bytes.TrimSpace(good)),
		on("CRLF", bytes.ReplaceAll(good, text("\n"), text("\r\n"))), on("spaces at the ends of lines", bytes.ReplaceAll(good, text("\n"), text(" \t\n"))),
		on("indented", bytes.ReplaceAll(good, text("\n"), text("\n  "))), on("one long line", oneLine(root.der)),
		on("with headers", headers), on("with headers beside it", headers, good),
		on("TRUSTED CERTIFICATE", block("TRUSTED CERTIFICATE", root.der)), on("X509 CERTIFICATE", block("X509 CERTIFICATE", root.der)),
		on("a key beside it", block("PRIVATE KEY", pkcs8(root.key)), good), on("begins twice", text("-----BEGIN CERTIFICATE-----\n"), good),
		on("never ends", good, text("-----BEGIN CERTIFICATE-----\nMII")), on("ends as something else", bytes.Replace(good, text("END CERTIFICATE"), text("END KEY"), 1)),
		on("byte order mark", text("\ufeff"), good), on("byte order mark before two", text("\ufeff"), further, good),
		on("two blocks on one line", bytes.TrimSpace(further), good),
		on("the same twice", good, good), on("bytes after the end of a certificate", block("CERTIFICATE", append(append([]byte{}, root.der...), 0)), further),
		on("nothing", text(" ")),
	}[1:]
}

func oneLine(der []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(block("CERTIFICATE", der)), []byte("\n"))
	body := bytes.Join(lines[1:len(lines)-1], nil)
	return bytes.Join([][]byte{lines[0], body, lines[len(lines)-1]}, []byte("\n"))
}

// demanding is a server that demands a client certificate, of any authority.
func demanding(name string, certificate, key []byte) testCase {
	root := newAuthority("kubernetes")
	c := served(name, root, root.server())
	c.server = func(config *tls.Config) { config.ClientAuth = tls.RequireAnyClientCert }
	c.clientCertificate, c.clientKey = certificate, key
	return c
}

func clientKeys() []testCase {
	root := newAuthority("users")
	var cases []testCase
	add := func(name string, key crypto.Signer, text []byte) {
		certificate := bundle(root.client(keyed(key)))
		cases = append(cases, demanding("client key: "+name, certificate, text).over(tls.VersionTLS13),
			demanding("client key: "+name+", TLS 1.2", certificate, text).over(tls.VersionTLS12))
	}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, name := newEC(curve), curve.Params().Name
		add(name+" SEC1", key, block("EC PRIVATE KEY", sec1(key)))
		add(name+" PKCS#8", key, block("PRIVATE KEY", pkcs8(key)))
	}
	key := rsa2048()
	add("RSA 2048 PKCS#1", key, block("RSA PRIVATE KEY", pkcs1(key)))
	add("RSA 2048 PKCS#8", key, block("PRIVATE KEY", pkcs8(key)))
	add("RSA 1024", rsa1024(), block("RSA PRIVATE KEY", pkcs1(rsa1024())))
	add("RSA 2056", rsa2056(), block("PRIVATE KEY", pkcs8(rsa2056())))
	add("RSA 5120", rsa5120(), block("PRIVATE KEY", pkcs8(rsa5120())))
	add("RSA with exponent 3", rsa3(), block("RSA PRIVATE KEY", pkcs1(rsa3())))
	ed := newEd25519()
	add("Ed25519", ed, block("PRIVATE KEY", pkcs8(ed)))

	once := func(name string, key crypto.Signer, text ...[]byte) {
		cases = append(cases, demanding("client key: "+name, bundle(root.client(keyed(key))), bytes.Join(text, nil)))
	}
	small, large, zero := newP256(), newEC(elliptic.P521()), zeroKey()
	parameters, err := asn1.Marshal(oidP256)
	check(err)
	once("PKCS#1 as PRIVATE KEY", key, block("PRIVATE KEY", pkcs1(key)))
	once("PKCS#8 as RSA PRIVATE KEY", key, block("RSA PRIVATE KEY", pkcs8(key)))
	once("PKCS#1 as EC PRIVATE KEY", key, block("EC PRIVATE KEY", pkcs1(key)))
	once("SEC1 as PRIVATE KEY", small, block("PRIVATE KEY", sec1(small)))
	once("SEC1 of P-521 as PRIVATE KEY", large, block("PRIVATE KEY", sec1(large)))
	once("SEC1 as RSA PRIVATE KEY", small, block("RSA PRIVATE KEY", sec1(small)))
	once("PKCS#8 as EC PRIVATE KEY", small, block("EC PRIVATE KEY", pkcs8(small)))
	once("as MY PRIVATE KEY", small, block("MY PRIVATE KEY", pkcs8(small)))
	once("as MYPRIVATE KEY", small, block("MYPRIVATE KEY", pkcs8(small)))
	once("as ENCRYPTED PRIVATE KEY", small, block("ENCRYPTED PRIVATE KEY", []byte("encrypted")))
	once("as KEY", small, block("KEY", pkcs8(small)))
	once("encrypted with headers", small, pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("encrypted"),
	}))
	once("headers that mean nothing", small, pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Headers: map[string]string{"Comment": "mine"}, Bytes: sec1(small),
	}))
	once("after EC PARAMETERS", small, block("EC PARAMETERS", parameters), block("EC PRIVATE KEY", sec1(small)))
	once("after text", small, []byte("Bag Attributes\n"), block("PRIVATE KEY", pkcs8(small)))
	once("after a certificate", small, bundle(root), block("PRIVATE KEY", pkcs8(small)))
	once("after a broken block", small, []byte("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"), block("PRIVATE KEY", pkcs8(small)))
	once("before another one", small, block("PRIVATE KEY", pkcs8(small)), block("PRIVATE KEY", pkcs8(large)))
	once("after another one", small, block("PRIVATE KEY", pkcs8(large)), block("PRIVATE KEY", pkcs8(small)))
	once("CRLF", small, bytes.ReplaceAll(block("PRIVATE KEY", pkcs8(small)), []byte("\n"), []byte("\r\n")))
	once("of another certificate", small, block("PRIVATE KEY", pkcs8(newP256())))
	once("of another curve", small, block("PRIVATE KEY", pkcs8(large)))
	once("of another kind", small, block("PRIVATE KEY", pkcs8(key)))
	once("of another RSA certificate", rsa2056(), block("PRIVATE KEY", pkcs8(key)))
	once("Ed25519 of another certificate", newEd25519(), block("PRIVATE KEY", pkcs8(ed)))
	once("P-521 of another certificate", newEC(elliptic.P521()), block("PRIVATE KEY", pkcs8(large)))
	once("without the public key", small, block("EC PRIVATE KEY", loose(scalar(small), oidP256)))
	once("without the public key and the curve", small, block("EC PRIVATE KEY", loose(scalar(small), nil)))
	once("without the curve in PKCS#8", small, block("PRIVATE KEY", wrapped(loose(scalar(small), nil))))
	once("scalar without its zeros", zero, block("EC PRIVATE KEY", loose(bytes.TrimLeft(scalar(zero), "\x00"), oidP256)))
	once("scalar with more zeros", small, block("EC PRIVATE KEY", loose(append(make([]byte, 4), scalar(small)...), oidP256)))
	once("scalar that is too long", small, block("EC PRIVATE KEY", loose(append([]byte{1}, scalar(small)...), oidP256)))
	once("garbage", small, block("PRIVATE KEY", []byte("no key")))
	once("bytes after the end", small, block("PRIVATE KEY", append(pkcs8(small), 0)))
	once("bytes after the end of PKCS#1", key, block("PRIVATE KEY", append(pkcs1(key), 0)))
	once("not PEM", small, []byte("no key"))
	return cases
}

func clientCertificates() []testCase {
	root := newAuthority("users")
	middle := root.authority("team")
	key := newP256()
	text := block("PRIVATE KEY", pkcs8(key))
	client := func(options ...option) *party { return root.client(append(options, keyed(key))...) }
	on := func(name string, certificate ...[]byte) testCase {
		return demanding("client certificate: "+name, bytes.Join(certificate, nil), text)
	}
	version := func(v int) option {
		return rewritten(func(t *tbsCertificate) {
			t.Version = v - 1
			t.Extensions = nil
		})
	}
	garbage := block("CERTIFICATE", []byte("no certificate"))
	expired := with(func(t *x509.Certificate) { t.NotAfter = time.Now().Add(-time.Minute) })
	good := bundle(client())
	none := demanding("client certificate: none", nil, nil)
	return []testCase{
		on("good", good), on("version 1", bundle(client(version(1)))), on("version 2", bundle(client(version(2)))),
		on("version 1, TLS 1.2", bundle(client(version(1)))).over(tls.VersionTLS12),
		on("version 4", bundle(client(rewritten(func(t *tbsCertificate) { t.Version = 3 })))),
		on("negative serial", bundle(client(rewritten(func(t *tbsCertificate) { t.Serial = big.NewInt(-1) })))),
		on("serial 0", bundle(client(rewritten(func(t *tbsCertificate) { t.Serial = big.NewInt(0) })))),
		on("expired", bundle(client(expired))), on("for servers", bundle(root.server(keyed(key)))), on("CA:TRUE", bundle(issue(nil, authorityOf("me"), []option{keyed(key)}))),
		on("unknown critical extension", bundle(client(extension(asn1.ObjectIdentifier{1, 2, 3}, true, []byte{5, 0})))),
		on("SHA-1", bundle(issue(newAuthority("users", keyed(rsa2048())), authorityOf("x"), []option{keyed(key), signedBy("SHA-1 with RSA")}))),
		on("with its chain", bundle(middle.client(keyed(key)), middle, root)), on("with the key before it", text, good), on("with the key after it", good, text),
		on("after text", []byte("# me\n"), good), on("after EC PARAMETERS", block("EC PARAMETERS", []byte{6, 0}), good),
		on("after a broken block", []byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), good),
		on("after garbage", garbage, good), on("garbage", garbage), on("TRUSTED CERTIFICATE", block("TRUSTED CERTIFICATE", client().der)),
		on("with headers", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: client().der})),
		on("not PEM", []byte("me")), on("the key instead", text), on("of another key", bundle(root.client())),
		on("without a key", good).but(func(c *testCase) { c.clientKey = nil }),
		none.over(tls.VersionTLS13), none.over(tls.VersionTLS12).but(func(c *testCase) { c.name += ", TLS 1.2" }),
		none.but(func(c *testCase) { c.name, c.clientKey = "client certificate: a key alone", text }),
		none.but(func(c *testCase) {
			c.name, c.clientKey = "client certificate: a key alone, nobody asks", text
			c.server = nil
		}),
		on("nobody asks", good).but(func(c *testCase) { c.server = nil }),
		on("broken, nobody asks", garbage).but(func(c *testCase) { c.server = nil }),
		on("optional", good).but(func(c *testCase) {
			c.server = func(config *tls.Config) { config.ClientAuth = tls.RequestClientCert }
		}),
		on("of an authority that the server does not know", good).but(verifying(newAuthority("others"))).over(tls.VersionTLS13),
		on("of an authority that the server does not know, TLS 1.2", good).but(verifying(newAuthority("others"))).over(tls.VersionTLS12),
		on("expired, and the server verifies", bundle(client(expired))).but(verifying(root)),
		on("of an authority that the server knows", good).but(verifying(root)),
	}
}

func verifying(authority *party) func(*testCase) {
	return func(c *testCase) {
		c.server = func(config *tls.Config) {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			config.ClientCAs.AppendCertsFromPEM(bundle(authority))
		}
	}
}

func protocols() []testCase {
	root := newAuthority("kubernetes")
	server := root.server()
	rsaServer := root.server(keyed(rsa2048()))
	past := with(func(t *x509.Certificate) { t.NotAfter = time.Now().Add(-time.Minute) })
	on := func(name string, change func(*tls.Config)) testCase {
		return served("protocol: "+name, root, rsaServer).but(func(c *testCase) { c.server = change })
	}
	suites := func(name string, suites ...uint16) testCase {
		return on(name, func(config *tls.Config) { config.CipherSuites, config.MaxVersion = suites, tls.VersionTLS12 })
	}
	curve := func(name string, curve tls.CurveID, version uint16) testCase {
		return on(name, func(config *tls.Config) { config.CurvePreferences = []tls.CurveID{curve} }).over(version)
	}
	insecure := func(name string, server *party) testCase {
		return served("insecure: "+name, root, server).but(func(c *testCase) { c.insecure, c.authority = true, nil })
	}
	old := on("TLS 1.1", nil)
	return []testCase{
		on("TLS 1.3", nil).over(tls.VersionTLS13), on("TLS 1.2", nil).over(tls.VersionTLS12), old.over(tls.VersionTLS11),
		suites("ECDHE with AES-128-GCM", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), suites("ECDHE with ChaCha20", tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
		suites("ECDHE with CBC", tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), suites("RSA with AES-128-GCM", tls.TLS_RSA_WITH_AES_128_GCM_SHA256),
		suites("ECDHE with 3DES", tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA),
		curve("P-256 only", tls.CurveP256, tls.VersionTLS13), curve("P-384 only", tls.CurveP384, tls.VersionTLS13),
		curve("P-521 only", tls.CurveP521, tls.VersionTLS13), curve("P-521 only, TLS 1.2", tls.CurveP521, tls.VersionTLS12),
		curve("X25519MLKEM768 only", tls.X25519MLKEM768, tls.VersionTLS13),
		served("protocol: HTTP", root, server).but(func(c *testCase) { c.plain = true }),
		served("protocol: no authority in the kubeconfig", root, server).but(func(c *testCase) { c.authority = nil }),
		insecure("unknown authority", selfSigned()), insecure("expired", root.server(past)), insecure("another name", root.server()).named("other.example.com"),
		insecure("negative serial", root.server(rewritten(func(t *tbsCertificate) { t.Serial = big.NewInt(-1) }))),
		insecure("version 1", root.server(rewritten(func(t *tbsCertificate) { t.Version, t.Extensions = 0, nil }))),
		insecure("P-521", root.server(keyed(newEC(elliptic.P521())))),
		insecure("signs with another key", server).but(func(c *testCase) { c.key = newP256() }),
		served("insecure: with an authority", root, server).but(func(c *testCase) { c.insecure = true }),
	}
}

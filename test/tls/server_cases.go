package main

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"time"
)

func serverKeys() []testCase {
	keys := []struct {
		name string
		key  crypto.Signer
	}{
		{"P-256", newP256()},
		{"P-384", newEC(elliptic.P384())},
		{"P-521", newEC(elliptic.P521())},
		{"Ed25519", newEd25519()},
		{"RSA 1024", rsa1024()},
		{"RSA 2048", rsa2048()},
		{"RSA 2056", rsa2056()},
		{"RSA 5120", rsa5120()},
		{"RSA with exponent 3", rsa3()},
	}
	authority := newAuthority("kubernetes")
	var cases []testCase
	for _, k := range keys {
		server := authority.server(keyed(k.key))
		cases = append(cases,
			served("server key "+k.name+", TLS 1.3", authority, server).over(tls.VersionTLS13),
			served("server key "+k.name+", TLS 1.2", authority, server).over(tls.VersionTLS12))
	}
	other := authority.server()
	return append(cases,
		served("server signs with another key, TLS 1.3", authority, other).but(func(c *testCase) { c.key = newP256() }).over(tls.VersionTLS13),
		served("server signs with another key, TLS 1.2", authority, other).but(func(c *testCase) { c.key = newP256() }).over(tls.VersionTLS12))
}

func authorityKeys() []testCase {
	var cases []testCase
	add := func(name string, key crypto.Signer, algorithms ...string) {
		for _, algorithm := range algorithms {
			authority := newAuthority("kubernetes", keyed(key))
			server := authority.server(signedBy(algorithm))
			cases = append(cases, served("authority "+name+", "+algorithm, authority, server))
		}
	}
	ec := []string{"ECDSA and SHA-1", "ECDSA and SHA-256", "ECDSA and SHA-384", "ECDSA and SHA-512"}
	add("P-256", newP256(), ec...)
	add("P-384", newEC(elliptic.P384()), ec...)
	add("P-521", newEC(elliptic.P521()), ec...)
	rsa := []string{"SHA-256 with RSA", "SHA-384 with RSA", "SHA-512 with RSA", "SHA-256 with PSS", "SHA-384 with PSS", "SHA-512 with PSS"}
	add("RSA 2048", rsa2048(), append(rsa, "SHA-1 with RSA", "MD5 with RSA")...)
	add("RSA 2056", rsa2056(), rsa...)
	add("RSA 1024", rsa1024(), rsa[:5]...)
	add("RSA 3072", rsa3072(), rsa[1], rsa[4])
	add("RSA 5120", rsa5120(), rsa[2], rsa[5])
	add("RSA with exponent 3", rsa3(), rsa[0], rsa[3])
	add("RSA 768", rsa768(), rsa[0])
	add("Ed25519", newEd25519(), "Ed25519")

	authority := newAuthority("kubernetes")
	spoiled := func(place int) *party {
		server := authority.server()
		server.der[len(server.der)-place] ^= 1
		return server
	}
	return append(cases,
		served("signature with a wrong bit", authority, spoiled(1)),
		served("signed contents with a wrong bit", authority, authority.server(rewritten(func(*tbsCertificate) {}))).but(func(c *testCase) {
			c.chain[0][len(c.chain[0])/2] ^= 1
		}),
		served("names an algorithm of another kind of key", newAuthority("kubernetes"), authority.server()),
		served("inner algorithm is another one", authority, swapAlgorithm(authority)))
}

// swapAlgorithm is signed with SHA-256, and says SHA-384 outside of what is signed.
func swapAlgorithm(authority *party) *party {
	server := authority.server()
	var whole struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(server.der, &whole)
	check(err)
	whole.Algorithm.Algorithm = signatureAlgorithms["ECDSA and SHA-384"].oid
	server.der, err = asn1.Marshal(whole)
	check(err)
	return server
}

func chains() []testCase {
	root, other, stranger := newAuthority("kubernetes"), newAuthority("other"), newAuthority("kubernetes")
	middle := root.authority("middle")
	low := middle.authority("low")
	leaf, deep := middle.server(), low.server()
	own, issued := selfSigned(), root.server()
	ownCA := selfSigned(with(func(t *x509.Certificate) { t.IsCA, t.BasicConstraintsValid = true, true }))
	leafCA := root.server(with(func(t *x509.Certificate) { t.IsCA, t.BasicConstraintsValid = true, true }))
	crossed := issue(other, authorityOf("kubernetes"), []option{keyed(root.key)})
	circle := issue(middle, authorityOf("kubernetes"), []option{keyed(root.key)})
	renewed := root.server(keyed(issued.key))
	garbage := &party{der: []byte("no certificate")}
	return []testCase{
		served("intermediate", root, leaf, middle),
		served("two intermediates", root, deep, low, middle),
		served("intermediates in another order", root, deep, middle, low),
		served("intermediates twice, and the root", root, deep, low, low, middle, root),
		served("the server's certificate twice", root, issued, issued),
		served("intermediate is missing", root, leaf),
		served("lower intermediate is missing", root, deep, middle),
		served("intermediate in the bundle", root, leaf).but(func(c *testCase) { c.authority = bundle(root, middle) }),
		served("intermediate as the only authority", middle, leaf),
		served("intermediate as the only authority, and sent", middle, leaf, middle),
		served("unrelated certificates are sent", root, issued, other, stranger),
		served("garbage is sent after the certificate", root, issued, garbage),
		served("garbage is sent alone", root, garbage).but(func(c *testCase) { c.key = newP256() }),
		served("unknown authority", other, issued),
		served("authority of the same name", stranger, issued),
		served("authority of the same name beside the right one", root, issued).but(func(c *testCase) { c.authority = bundle(stranger, root) }),
		served("self-signed, unknown", root, own),
		served("self-signed as the authority", own, own),
		served("self-signed CA:TRUE as the authority", ownCA, ownCA),
		served("self-signed CA:TRUE, unknown", root, ownCA),
		served("issued certificate as the authority", issued, issued),
		served("issued certificate as the authority, renewed", issued, renewed),
		served("self-signed certificate of the same key as the authority", selfSigned(keyed(own.key)), own),
		served("CA:TRUE server certificate", root, leafCA),
		served("certificate of the server signs another", own, own.server()),
		served("issued certificate signs another", root, issued.server(), issued),
		served("CA:TRUE server certificate signs another", root, leafCA.server(), leafCA),
		served("cross-signed", other, issued, crossed),
		served("in a circle", other, leaf, middle, circle),
		served("in a circle with the root", root, leaf, middle, circle),
		served("many candidates", root, issued).but(func(c *testCase) {
			c.authority = append(bundle(strangers(60)...), c.authority...)
		}),
		served("more candidates than are tried", root, issued).but(func(c *testCase) {
			c.authority = append(bundle(strangers(150)...), c.authority...)
		}),
	}
}

func strangers(count int) []*party {
	var parties []*party
	for range count {
		parties = append(parties, newAuthority("kubernetes"))
	}
	return parties
}

func authorities() []testCase {
	usage := func(u x509.KeyUsage) option { return with(func(t *x509.Certificate) { t.KeyUsage = u }) }
	noCA := with(func(t *x509.Certificate) { t.IsCA = false })
	noConstraints := with(func(t *x509.Certificate) { t.IsCA, t.BasicConstraintsValid = false, false })
	path := func(length int) option {
		return with(func(t *x509.Certificate) { t.MaxPathLen, t.MaxPathLenZero = length, length == 0 })
	}
	version := func(v int) option {
		return rewritten(func(t *tbsCertificate) {
			t.Version = v - 1
			if v < 3 {
				t.Extensions = nil
			}
		})
	}
	direct := func(name string, options ...option) testCase {
		authority := newAuthority("kubernetes", options...)
		return served("authority "+name, authority, authority.server())
	}
	between := func(name string, options ...option) testCase {
		root := newAuthority("kubernetes")
		middle := root.authority("middle", options...)
		return served("intermediate "+name, root, middle.server(), middle)
	}
	below := func(name string, options ...option) testCase {
		root := newAuthority("kubernetes", options...)
		middle := root.authority("middle")
		return served("authority with an intermediate, "+name, root, middle.server(), middle)
	}
	own := selfSigned(version(1))
	old := rewritten(func(t *tbsCertificate) { t.Version = 0 })
	return []testCase{
		direct("of version 1", version(1)), direct("of version 2", version(2)), direct("of version 1 with extensions", old),
		direct("of version 4", rewritten(func(t *tbsCertificate) { t.Version = 3 })),
		direct("CA:FALSE", noCA), direct("without basic constraints", noConstraints),
		direct("without key usage", usage(0)), direct("without keyCertSign", usage(x509.KeyUsageDigitalSignature)),
		direct("with keyCertSign and others", usage(x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature)),
		direct("with decipherOnly", usage(x509.KeyUsageDecipherOnly)),
		direct("pathlen 0", path(0)), direct("pathlen 1", path(1)),
		between("of version 1", version(1)), between("CA:FALSE", noCA), between("without basic constraints", noConstraints),
		between("without key usage", usage(0)), between("without keyCertSign", usage(x509.KeyUsageDigitalSignature)),
		between("pathlen 0", path(0)),
		below("pathlen 0", path(0)), below("pathlen 1", path(1)), below("pathlen 300", path(300)),
		below("of version 1", version(1)),
		pathBelow("pathlen 0 in the middle", 0), pathBelow("pathlen 1 in the middle", 1),
		served("server certificate of version 1", newAuthority("kubernetes"), newAuthority("x")).but(func(c *testCase) {
			root := newAuthority("kubernetes")
			server := root.server(version(1))
			c.authority, c.chain, c.key = bundle(root), chain(server), server.key
		}),
		served("self-signed of version 1 as the authority", own, own),
	}
}

func pathBelow(name string, length int) testCase {
	root := newAuthority("kubernetes")
	middle := root.authority("middle", with(func(t *x509.Certificate) { t.MaxPathLen, t.MaxPathLenZero = length, length == 0 }))
	low := middle.authority("low")
	return served(name, root, low.server(), low, middle)
}

// policyCases have authorities that demand policies.
func policyCases() []testCase {
	policies := func(oids ...string) option {
		var list []byte
		for _, oid := range oids {
			list = append(list, 0x30, byte(len(oid)+2), 0x06, byte(len(oid)))
			list = append(list, oid...)
		}
		return extension(asn1.ObjectIdentifier{2, 5, 29, 32}, false, append([]byte{0x30, byte(len(list))}, list...))
	}
	const one, other, anyPolicy = "\x2a\x03", "\x2a\x04", "\x55\x1d\x20\x00"
	demands := func(skipped byte) option {
		return extension(asn1.ObjectIdentifier{2, 5, 29, 36}, true, []byte{0x30, 0x03, 0x80, 0x01, skipped})
	}
	inhibits := extension(asn1.ObjectIdentifier{2, 5, 29, 54}, true, []byte{0x02, 0x01, 0x00})
	maps := extension(asn1.ObjectIdentifier{2, 5, 29, 33}, true, []byte("\x30\x0a\x30\x08\x06\x02\x2a\x03\x06\x02\x2a\x04"))
	on := func(name string, root, middle, low, leaf []option) testCase {
		r := newAuthority("kubernetes", root...)
		m := r.authority("middle", middle...)
		l := m.authority("low", low...)
		return served("policies: "+name, r, l.server(leaf...), l, m)
	}
	type o = []option
	return []testCase{
		on("the same", nil, o{policies(one), demands(0)}, o{policies(one)}, o{policies(one)}),
		on("different", nil, o{policies(one), demands(0)}, o{policies(one)}, o{policies(other)}),
		on("different, demanded by nobody", nil, o{policies(one)}, o{policies(one)}, o{policies(other)}),
		on("missing in the server certificate", nil, o{policies(one), demands(0)}, o{policies(one)}, nil),
		on("missing between", nil, o{policies(one), demands(0)}, nil, o{policies(one)}),
		on("missing in the one that demands", nil, o{demands(0)}, o{policies(one)}, o{policies(one)}),
		on("any between", nil, o{policies(one), demands(0)}, o{policies(anyPolicy)}, o{policies(one)}),
		on("any", nil, o{policies(anyPolicy), demands(0)}, o{policies(anyPolicy)}, o{policies(anyPolicy)}),
		on("any, and inhibited", nil, o{policies(anyPolicy), demands(0), inhibits}, o{policies(anyPolicy)}, o{policies(anyPolicy)}),
		on("any in the server certificate", nil, o{policies(one), demands(0)}, o{policies(one)}, o{policies(anyPolicy)}),
		on("any in the server certificate, inhibited", nil, o{policies(one), demands(0), inhibits}, o{policies(one)}, o{policies(anyPolicy)}),
		on("one of two", nil, o{policies(one, other), demands(0)}, o{policies(other)}, o{policies(one, other)}),
		on("demanded two below", nil, o{demands(2)}, nil, nil), on("demanded one below", nil, o{demands(1)}, nil, nil),
		on("demanded three below", nil, o{demands(3)}, nil, nil),
		on("demanded by the root", o{demands(0)}, nil, nil, nil),
		on("demanded by the server certificate", nil, nil, nil, o{demands(0)}),
		on("demanded by the server certificate, which has some", nil, o{policies(one)}, o{policies(one)}, o{policies(one), demands(0)}),
		on("renamed, demanded by nobody", nil, o{policies(one), maps}, o{policies(other)}, o{policies(other)}),
		on("renamed wrongly", nil, o{policies(one), maps, demands(0)}, o{policies(one)}, o{policies(one)}),
	}
}

func validity() []testCase {
	now := time.Now()
	from := func(before, after time.Duration) option {
		return with(func(t *x509.Certificate) { t.NotBefore, t.NotAfter = now.Add(before), now.Add(after) })
	}
	past, future := from(-2*time.Hour, -time.Hour), from(time.Hour, 2*time.Hour)
	forever := with(func(t *x509.Certificate) { t.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })
	root := newAuthority("kubernetes")
	case1 := func(name string, rootOptions, middleOptions, leafOptions []option) testCase {
		root := newAuthority("kubernetes", rootOptions...)
		middle := root.authority("middle", middleOptions...)
		return served(name, root, middle.server(leafOptions...), middle)
	}
	own := selfSigned(past)
	expired, renewed := newAuthority("kubernetes", past), []*party(nil)
	renewed = append(renewed, newAuthority("kubernetes", keyed(expired.key)))
	return []testCase{
		served("expired server certificate", root, root.server(past)),
		served("server certificate is not valid yet", root, root.server(future)),
		served("server certificate is valid for ever", root, root.server(forever)),
		served("ends before it begins", root, root.server(from(time.Hour, -time.Hour))),
		case1("expired authority", []option{past}, nil, nil),
		case1("authority is not valid yet", []option{future}, nil, nil),
		case1("expired intermediate", nil, []option{past}, nil),
		case1("intermediate is not valid yet", nil, []option{future}, nil),
		served("expired self-signed certificate as the authority", own, own),
		served("expired authority beside its renewed one", expired, expired.server()).but(func(c *testCase) {
			c.authority = bundle(expired, renewed[0])
		}),
	}
}

func usages() []testCase {
	usage := func(usages ...x509.ExtKeyUsage) option {
		return with(func(t *x509.Certificate) { t.ExtKeyUsage = usages })
	}
	unknown := with(func(t *x509.Certificate) {
		t.ExtKeyUsage, t.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
	})
	const server, client, anyUsage = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageAny
	on := func(name string, rootUsage, middleUsage, leafUsage option) testCase {
		root := newAuthority("kubernetes", rootUsage)
		middle := root.authority("middle", middleUsage)
		return served("extended key usage: "+name, root, middle.server(leafUsage), middle)
	}
	none := usage()
	own := selfSigned(usage(client))
	return []testCase{
		on("none", none, none, none), on("server", none, none, usage(server)), on("client", none, none, usage(client)),
		on("both", none, none, usage(client, server)), on("any", none, none, usage(anyUsage)),
		on("any and client", none, none, usage(anyUsage, client)), on("unknown", none, none, unknown),
		on("empty", none, none, extension(asn1.ObjectIdentifier{2, 5, 29, 37}, false, []byte{0x30, 0x00})),
		on("authority for clients", usage(client), none, usage(server)), on("authority for servers", usage(server), none, usage(server)),
		on("authority for any", usage(anyUsage), none, usage(server)),
		on("intermediate for clients", none, usage(client), usage(server)),
		on("intermediate for both", none, usage(client, server), usage(server)), on("intermediate unknown", none, unknown, usage(server)),
		on("netscape", none, none, usage(x509.ExtKeyUsageNetscapeServerGatedCrypto)),
		served("extended key usage: self-signed for clients as the authority", own, own),
	}
}

// extension replaces an extension or adds it.
func extension(oid asn1.ObjectIdentifier, critical bool, value []byte) option {
	return rewritten(func(t *tbsCertificate) {
		var kept []pkix.Extension
		for _, e := range t.Extensions {
			if !e.Id.Equal(oid) {
				kept = append(kept, e)
			}
		}
		t.Extensions = append(kept, pkix.Extension{Id: oid, Critical: critical, Value: value})
	})
}

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// san is a subjectAltName of raw names: tag and contents.
func san(names ...asn1.RawValue) option {
	value, err := asn1.Marshal(names)
	check(err)
	return extension(oidSAN, false, value)
}

func generalName(tag int, contents string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(contents)}
}

func names() []testCase {
	root := newAuthority("kubernetes")
	dns := func(names ...string) option {
		return with(func(t *x509.Certificate) { t.DNSNames, t.IPAddresses = names, nil })
	}
	ip := func(ips ...string) option {
		return with(func(t *x509.Certificate) {
			t.DNSNames, t.IPAddresses = nil, nil
			for _, text := range ips {
				t.IPAddresses = append(t.IPAddresses, net.ParseIP(text))
			}
		})
	}
	common := func(name string) option {
		return with(func(t *x509.Certificate) {
			t.Subject, t.DNSNames, t.IPAddresses = pkix.Name{CommonName: name}, nil, nil
		})
	}
	on := func(name string, options ...option) testCase {
		return served("name: "+name, root, root.server(options...))
	}
	at := func(host, name string, options ...option) testCase {
		return on(name, options...).but(func(c *testCase) { c.host = host })
	}
	noSubject := with(func(t *x509.Certificate) { t.Subject = pkix.Name{} })
	uri := func(text string) option {
		parsed, err := url.Parse(text)
		check(err)
		return with(func(t *x509.Certificate) { t.URIs = []*url.URL{parsed} })
	}
	cases := []testCase{
		on("address", ip("127.0.0.1")), on("another address", ip("127.0.0.2")), on("address among others", ip("10.0.0.1", "127.0.0.1")),
		on("address as DNS name", dns("127.0.0.1")), on("address as common name", common("127.0.0.1")),
		on("address as IPv6", san(generalName(7, string(net.ParseIP("127.0.0.1").To16())))),
		on("address of a wrong length", san(generalName(7, "\x7f\x00\x00"))),
		on("DNS name only", dns("localhost")),
		at("localhost", "localhost", dns("localhost")), at("localhost", "LOCALHOST", dns("LocalHost")),
		at("localhost", "localhost as common name", common("localhost")), at("localhost", "another DNS name", dns("other")),
		on("tls-server-name", dns("api.example.com")).named("api.example.com"),
		on("tls-server-name in capitals", dns("api.example.com")).named("API.Example.Com"),
		on("tls-server-name with a dot", dns("api.example.com")).named("api.example.com."),
		on("certificate's name with a dot", dns("api.example.com.")).named("api.example.com"),
		on("another tls-server-name", dns("api.example.com")).named("www.example.com"),
		on("tls-server-name beside the address", ip("127.0.0.1")).named("www.example.com"),
		on("address as tls-server-name", ip("10.1.2.3")).named("10.1.2.3"),
		on("IPv6 address as tls-server-name", ip("2001:db8::1")).named("2001:db8::1"),
		on("IPv6 address in brackets as tls-server-name", ip("2001:db8::1")).named("[2001:db8::1]"),
		on("wildcard", dns("*.example.com")).named("api.example.com"),
		on("wildcard of too few labels", dns("*.example.com")).named("api.eu.example.com"),
		on("wildcard is no parent", dns("*.example.com")).named("example.com"),
		on("wildcard in a label", dns("a*.example.com")).named("api.example.com"),
		on("wildcard in the middle", dns("api.*.com")).named("api.example.com"),
		on("wildcard alone", dns("*")).named("localhost"),
		on("wildcard for an address", dns("*.0.0.1")),
		on("underscore", dns("api_1.example.com")).named("api_1.example.com"),
		on("no names at all", common("")), on("no subject", noSubject, ip("127.0.0.1")),
		on("empty list of names", san()), on("email only", san(generalName(1, "a@example.com"))),
		on("DNS name that is not ASCII", san(generalName(2, "\xff"), generalName(7, "\x7f\x00\x00\x01"))),
		on("kinds that nobody knows", san(generalName(8, "x"), generalName(7, "\x7f\x00\x00\x01"))),
		on("URI", uri("spiffe://cluster.local/ns/default")),
		on("URI with a bad host", san(generalName(6, "https://a..b/"), generalName(7, "\x7f\x00\x00\x01"))),
		on("URI with a bad escape", san(generalName(6, "https://a/%zz"), generalName(7, "\x7f\x00\x00\x01"))),
		on("malformed list of names", extension(oidSAN, false, []byte{0x30, 0x05, 0x82})),
	}
	if listener, err := net.Listen("tcp", "[::1]:0"); err == nil {
		check(listener.Close())
		cases = append(cases, at("::1", "IPv6 address", ip("::1")), at("::1", "another IPv6 address", ip("::2")),
			at("::1", "IPv6 address as DNS name", dns("::1")))
	}
	return cases
}

func constraints() []testCase {
	network := func(text string) *net.IPNet {
		_, n, err := net.ParseCIDR(text)
		check(err)
		return n
	}
	type template = *x509.Certificate
	on := func(name string, change func(template), options ...option) testCase {
		root := newAuthority("kubernetes", with(change))
		return served("constraints: "+name, root, root.server(options...))
	}
	dns := func(names ...string) option {
		return with(func(t template) { t.DNSNames, t.IPAddresses = names, nil })
	}
	const name = "api.example.com"
	permit := func(text string, constraint string, names ...string) testCase {
		return on("permitted "+text, func(t template) { t.PermittedDNSDomains = []string{constraint} }, dns(names...)).named(name)
	}
	exclude := func(text string, constraint string, names ...string) testCase {
		return on("excluded "+text, func(t template) { t.ExcludedDNSDomains = []string{constraint} }, dns(names...)).named(name)
	}
	mail := with(func(t template) { t.EmailAddresses = []string{"dev@example.com"} })
	link := func(text string) option {
		parsed, err := url.Parse(text)
		check(err)
		return with(func(t template) { t.URIs = []*url.URL{parsed} })
	}
	oid := asn1.ObjectIdentifier{2, 5, 29, 30}
	// A directoryName.
	directory := []byte{0x30, 0x08, 0xa0, 0x06, 0x30, 0x04, 0xa4, 0x02, 0x30, 0x00}
	raw := func(text string, critical bool, value []byte) testCase {
		root := newAuthority("kubernetes", extension(oid, critical, value))
		return served("constraints: "+text, root, root.server())
	}
	cases := []testCase{
		permit("domain", "example.com", name), permit("another domain", "example.org", name), permit("domain with a dot", ".example.com", name),
		permit("name with a dot", ".api.example.com", name), permit("the name", name, name), permit("one of two names", "example.com", name, "example.org"),
		permit("wildcard", "example.com", "*.example.com"), permit("half a label", "ample.com", name), permit("capitals", "EXAMPLE.com", name),
		permit("parent of a wildcard", name, "*.example.com"),
		exclude("domain", "example.com", name), exclude("another domain", "example.org", name), exclude("wildcard", "www.example.com", "*.example.com"),
		exclude("one of two names", "example.org", name, "example.org"), exclude("half a label", "ample.com", name),
		on("permitted domain says nothing about addresses", func(t template) { t.PermittedDNSDomains = []string{"example.com", "localhost"} }),
		on("permitted network", func(t template) { t.PermittedIPRanges = []*net.IPNet{network("127.0.0.0/8"), network("::1/128")} }),
		on("permitted network of IPv4 alone", func(t template) { t.PermittedIPRanges = []*net.IPNet{network("127.0.0.0/8")} }),
		on("another permitted network", func(t template) { t.PermittedIPRanges = []*net.IPNet{network("10.0.0.0/8")} }),
		on("excluded network", func(t template) { t.ExcludedIPRanges = []*net.IPNet{network("127.0.0.0/8")} }),
		on("another excluded network", func(t template) { t.ExcludedIPRanges = []*net.IPNet{network("10.0.0.0/8")} }),
		on("permitted email", func(t template) { t.PermittedEmailAddresses = []string{"example.com"} }, mail),
		on("another permitted email", func(t template) { t.PermittedEmailAddresses = []string{"ops@example.com"} }, mail),
		on("excluded email", func(t template) { t.ExcludedEmailAddresses = []string{"example.com"} }, mail),
		on("permitted email, none there", func(t template) { t.PermittedEmailAddresses = []string{"example.com"} }),
		on("permitted URI", func(t template) { t.PermittedURIDomains = []string{".local"} }, link("spiffe://cluster.local:80/ns")),
		on("another permitted URI", func(t template) { t.PermittedURIDomains = []string{"example.com"} }, link("spiffe://cluster.local/ns")),
		on("URI of an address", func(t template) { t.PermittedURIDomains = []string{"example.com"} }, link("https://10.0.0.1/")),
		on("URI without a host", func(t template) { t.PermittedURIDomains = []string{"example.com"} }, link("urn:uuid:1")),
		raw("unknown kind, critical", true, directory), raw("unknown kind", false, directory),
		raw("empty", false, []byte{0x30, 0x00}), raw("malformed", false, []byte{0x30, 0x02, 0xa0}),
		raw("bad mask", true, []byte{0x30, 0x0e, 0xa0, 0x0c, 0x30, 0x0a, 0x87, 0x08, 127, 0, 0, 1, 0xff, 0, 0xff, 0}),
	}
	root := newAuthority("kubernetes")
	middle := root.authority("middle", with(func(t template) { t.ExcludedIPRanges = []*net.IPNet{network("127.0.0.0/8")} }))
	limited := newAuthority("kubernetes", with(func(t template) { t.PermittedDNSDomains = []string{"example.com"} }))
	named := limited.authority("middle", with(func(t template) { t.DNSNames = []string{"example.org"} }))
	own := selfSigned(with(func(t template) {
		t.IsCA, t.BasicConstraintsValid, t.ExcludedIPRanges = true, true, []*net.IPNet{network("127.0.0.0/8")}
	}))
	return append(cases, served("constraints: of an intermediate", root, middle.server(), middle),
		served("constraints: an intermediate has a name", limited, named.server(dns(name)), named).named(name),
		served("constraints: of the certificate itself", own, own))
}

// forms are encodings.
func forms() []testCase {
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	serial := func(text string) option {
		return rewritten(func(t *tbsCertificate) {
			number, valid := new(big.Int).SetString(text, 0)
			if !valid {
				panic(text)
			}
			t.Serial = number
		})
	}
	leaf := func(name string, options ...option) testCase {
		root := newAuthority("kubernetes")
		return served("form: "+name, root, root.server(options...))
	}
	top := func(name string, options ...option) testCase {
		root := newAuthority("kubernetes", options...)
		return served("form: authority "+name, root, root.server())
	}
	between := func(name string, options ...option) testCase {
		root := newAuthority("kubernetes")
		middle := root.authority("middle", options...)
		return served("form: intermediate "+name, root, middle.server(), middle)
	}
	twice := rewritten(func(t *tbsCertificate) { t.Extensions = append(t.Extensions, t.Extensions[0]) })
	null := []byte{0x05, 0x00}
	standard := func(number int, critical bool, value ...byte) option {
		return extension(asn1.ObjectIdentifier{2, 5, 29, number}, critical, value)
	}
	info := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	issuerTag := func(tag int) option {
		return rewritten(func(t *tbsCertificate) {
			value := asn1.RawValue{Tag: tag, Bytes: []byte("kubeapi0")}
			type attribute struct {
				OID   asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			type set []attribute
			_ = set(nil)
			inner, err := asn1.Marshal(attribute{asn1.ObjectIdentifier{2, 5, 4, 3}, value})
			check(err)
			one, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: inner})
			check(err)
			name, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: one})
			check(err)
			t.Subject = asn1.RawValue{FullBytes: name}
		})
	}
	long := "0x7f" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	validityOf := func(tag int, from, to string) option {
		return rewritten(func(t *tbsCertificate) {
			value := func(text string) []byte {
				der, err := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(text)})
				check(err)
				return der
			}
			t.Validity = asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(value(from), value(to)...)}
		})
	}
	const utc, generalized = asn1.TagUTCTime, asn1.TagGeneralizedTime
	return []testCase{
		leaf("serial 0", serial("0")), leaf("negative serial", serial("-5")), leaf("long serial", serial(long)),
		top("serial 0", serial("0")), top("negative serial", serial("-5")), top("long serial", serial(long)),
		between("negative serial", serial("-5")),
		leaf("unknown extension", extension(unknown, false, null)), leaf("unknown critical extension", extension(unknown, true, null)),
		top("unknown extension", extension(unknown, false, null)), top("unknown critical extension", extension(unknown, true, null)),
		between("unknown critical extension", extension(unknown, true, null)),
		leaf("extension twice", twice), top("extension twice", twice),
		leaf("malformed key usage", standard(15, true, 0x03, 0x01)), leaf("malformed basic constraints", standard(19, true, 0x30, 0x01)),
		leaf("malformed extended key usage", standard(37, false, 0x30, 0x02, 0x06, 0x00)),
		leaf("critical key identifier", standard(14, true, 0x04, 0x01, 0x01)),
		leaf("critical authority key identifier", standard(35, true, 0x30, 0x00)),
		leaf("wrong authority key identifier", standard(35, false, 0x30, 0x03, 0x80, 0x01, 0x01)),
		leaf("critical authority information", extension(info, true, []byte{0x30, 0x00})),
		leaf("malformed authority information", extension(info, false, []byte{0x30, 0x01})),
		leaf("policies", standard(32, false, 0x30, 0x06, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03)),
		leaf("critical policies", standard(32, true, 0x30, 0x06, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03)),
		leaf("policies twice", standard(32, false, 0x30, 0x0c, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03)),
		leaf("malformed policies", standard(32, false, 0x30, 0x01)),
		leaf("distribution points", standard(31, true, 0x30, 0x00)),
		top("demands policies", standard(36, true, 0x30, 0x03, 0x80, 0x01, 0x00)),
		between("demands policies", standard(36, true, 0x30, 0x03, 0x80, 0x01, 0x00)),
		leaf("inhibits any policy", standard(54, true, 0x02, 0x01, 0x00)),
		leaf("UTF-8 name", issuerTag(asn1.TagUTF8String)), leaf("T61 name", issuerTag(asn1.TagT61String)),
		leaf("BMP name", issuerTag(30)), leaf("universal name", issuerTag(28)), leaf("numeric name", issuerTag(asn1.TagNumericString)),
		leaf("octets as name", issuerTag(asn1.TagOctetString)),
		leaf("generalized times", validityOf(generalized, "20200101000000Z", "20700101000000Z")),
		leaf("generalized time before 2050", validityOf(generalized, "20200101000000Z", "20400101000000Z")),
		leaf("time without seconds", validityOf(utc, "2001010000Z", "4001010000Z")),
		leaf("time with an offset", validityOf(utc, "200101000000+0100", "400101000000-0100")),
		leaf("time with an offset of zero", validityOf(utc, "200101000000+0000", "400101000000Z")),
		leaf("times of the last century", validityOf(utc, "500101000000Z", "490101000000Z")),
		leaf("time without a zone", validityOf(utc, "200101000000", "400101000000Z")),
		leaf("fraction of a second", validityOf(generalized, "20200101000000.5Z", "20400101000000Z")),
		leaf("bytes after the end", rewritten(func(*tbsCertificate) {})).but(func(c *testCase) { c.chain[0] = append(c.chain[0], 0) }),
		leaf("truncated").but(func(c *testCase) { c.chain[0] = c.chain[0][:len(c.chain[0])-1] }),
	}
}

package main

import (
	"crypto"
	"crypto/tls"
	"slices"
)

// testCase is a server, and a kubeconfig for it.
type testCase struct {
	name string

	// The server. Without a host it is 127.0.0.1.
	host   string
	plain  bool
	chain  [][]byte
	key    crypto.Signer
	server func(*tls.Config)

	// The kubeconfig.
	authority         []byte
	serverName        string
	insecure          bool
	clientCertificate []byte
	clientKey         []byte
}

func allCases() []testCase {
	return slices.Concat(
		serverKeys(), authorityKeys(), chains(), authorities(), policyCases(), validity(), usages(), names(), constraints(),
		forms(), bundles(), clientKeys(), clientCertificates(), protocols(),
	)
}

// served is a server with a certificate of an authority that the kubeconfig has.
func served(name string, authority, server *party, intermediates ...*party) testCase {
	sent := chain(append([]*party{server}, intermediates...)...)
	return testCase{name: name, chain: sent, key: server.key, authority: bundle(authority)}
}

// but changes a case.
func (c testCase) but(change func(*testCase)) testCase {
	change(&c)
	return c
}

// over limits the versions of TLS.
func (c testCase) over(version uint16) testCase {
	before := c.server
	c.server = func(config *tls.Config) {
		if before != nil {
			before(config)
		}
		config.MinVersion, config.MaxVersion = version, version
	}
	return c
}

// named connects by a name.
func (c testCase) named(serverName string) testCase {
	c.serverName = serverName
	return c
}

package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
)

// mutations are certificates of servers and authorities, each with one byte changed before it is signed.
func mutations(text string) []testCase {
	var count int
	var seed uint64
	if text == "" {
		return nil
	}
	_, err := fmt.Sscanf(text, "%d:%d", &count, &seed)
	check(err)
	random, key := rand.New(rand.NewPCG(seed, 0)), newP256()
	var cases []testCase
	for i := range count {
		mutate := option{signed: func(signed []byte) []byte {
			place := random.IntN(len(signed))
			if random.IntN(2) == 0 {
				signed[place] ^= 1 << random.IntN(8)
			} else {
				signed[place] = byte(random.IntN(256))
			}
			return signed
		}}
		root := newAuthority("kubernetes", keyed(key), full())
		server := root.server(keyed(key), full())
		if i%2 == 0 {
			server = root.server(keyed(key), full(), mutate)
		} else {
			root = newAuthority("kubernetes", keyed(key), full(), mutate)
		}
		cases = append(cases, served(fmt.Sprintf("mutation %d of seed %d", i, seed), root, server))
	}
	return cases
}

// full adds an extension of every kind.
func full() option {
	_, network, err := net.ParseCIDR("127.0.0.0/8")
	check(err)
	link, err := url.Parse("spiffe://cluster.local:80/ns/default")
	check(err)
	return with(func(t *x509.Certificate) {
		t.Subject.Organization, t.Subject.Country = []string{"Österreich"}, []string{"AT"}
		t.URIs, t.EmailAddresses = []*url.URL{link}, []string{"dev@example.com"}
		t.OCSPServer, t.CRLDistributionPoints = []string{"http://example.com/ocsp"}, []string{"http://example.com/crl"}
		t.PolicyIdentifiers = []asn1.ObjectIdentifier{{1, 2, 3}}
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 54}, Value: []byte{2, 1, 1}}}
		if t.IsCA {
			t.MaxPathLen, t.PermittedIPRanges = 1, []*net.IPNet{network, {IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}}
			t.PermittedDNSDomains = []string{"localhost", "example.com"}
			t.PermittedURIDomains, t.PermittedEmailAddresses = []string{".local"}, []string{"example.com"}
		}
	})
}

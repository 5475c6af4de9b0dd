package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"sync"
)

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	check(err)
	return key
}

func newP256() *ecdsa.PrivateKey { return newEC(elliptic.P256()) }

func newEd25519() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	return key
}

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	check(err)
	return key
}

// RSA keys take time, so each size has one.
var (
	rsa1024 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
	rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	rsa2056 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2056) })
	rsa3072 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(3072) })
	rsa5120 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(5120) })
	// rsa3 has the public exponent 3.
	rsa3 = sync.OnceValue(func() *rsa.PrivateKey {
		n, d, primes := rsaNumbers(2048, 3)
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 3}, D: d, Primes: primes}
		key.Precompute()
		check(key.Validate())
		return key
	})
	// rsa768 is smaller than Go verifies.
	rsa768 = sync.OnceValue(func() smallRSA {
		n, d, _ := rsaNumbers(768, 65537)
		return smallRSA{n, d}
	})
)

func rsaNumbers(bits int, e int64) (n, d *big.Int, primes []*big.Int) {
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		check(err)
		q, err := rand.Prime(rand.Reader, bits/2)
		check(err)
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n, d = new(big.Int).Mul(p, q), new(big.Int).ModInverse(big.NewInt(e), phi)
		if d != nil && n.BitLen() == bits && p.Cmp(q) != 0 {
			return n, d, []*big.Int{p, q}
		}
	}
}

// smallRSA signs with PKCS #1 v1.5 and SHA-256, which crypto/rsa refuses for its size.
type smallRSA struct{ n, d *big.Int }

func (k smallRSA) Public() crypto.PublicKey { return &rsa.PublicKey{N: k.n, E: 65537} }

func (k smallRSA) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, errors.New("SHA-256 only")
	}
	prefix := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	size := (k.n.BitLen() + 7) / 8
	message := []byte{0, 1}
	for len(message) < size-1-len(prefix)-len(digest) {
		message = append(message, 0xff)
	}
	message = append(append(append(message, 0), prefix...), digest...)
	signature := new(big.Int).Exp(new(big.Int).SetBytes(message), k.d, k.n)
	return signature.FillBytes(make([]byte, size)), nil
}

func pkcs1(key *rsa.PrivateKey) []byte { return x509.MarshalPKCS1PrivateKey(key) }

func pkcs8(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	return der
}

func sec1(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalECPrivateKey(key)
	check(err)
	return der
}

// looseEC is a private key without what is optional: the public key, and the curve, which PKCS #8 names. The scalar can
// have other zeros than it should.
type looseEC struct {
	Version int
	Scalar  []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
}

var oidP256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}

func loose(scalar []byte, curve asn1.ObjectIdentifier) []byte {
	der, err := asn1.Marshal(looseEC{1, scalar, curve})
	check(err)
	return der
}

func scalar(key *ecdsa.PrivateKey) []byte {
	bytes, err := key.Bytes()
	check(err)
	return bytes
}

// zeroKey is a key whose scalar begins with a zero.
func zeroKey() *ecdsa.PrivateKey {
	for {
		if key := newP256(); scalar(key)[0] == 0 {
			return key
		}
	}
}

func wrapped(ecKey []byte) []byte {
	type algorithm struct{ Algorithm, Curve asn1.ObjectIdentifier }
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}{0, algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, oidP256}, ecKey})
	check(err)
	return der
}

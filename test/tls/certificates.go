package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"time"

	_ "crypto/md5"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// party is a certificate with its key.
type party struct {
	der     []byte
	subject []byte
	keyID   []byte
	key     crypto.Signer
}

// tbsCertificate is what is signed. x509.CreateCertificate makes it, and a case can change what CreateCertificate
// would refuse.
type tbsCertificate struct {
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

// option changes a certificate before it is signed.
type option struct {
	template func(*x509.Certificate)
	tbs      func(*tbsCertificate)
	signed   func([]byte) []byte
	key      crypto.Signer
	// How the issuer signs.
	algorithm string
}

func with(change func(*x509.Certificate)) option    { return option{template: change} }
func rewritten(change func(*tbsCertificate)) option { return option{tbs: change} }
func keyed(key crypto.Signer) option                { return option{key: key} }
func signedBy(algorithm string) option              { return option{algorithm: algorithm} }

// newAuthority is self-signed.
func newAuthority(name string, options ...option) *party {
	return issue(nil, authorityOf(name), options)
}

// authority is an intermediate authority.
func (issuer *party) authority(name string, options ...option) *party {
	return issue(issuer, authorityOf(name), options)
}

// server has all names of this machine.
func (issuer *party) server(options ...option) *party { return issue(issuer, serverOf(), options) }

func selfSigned(options ...option) *party { return issue(nil, serverOf(), options) }

// client is a client certificate.
func (issuer *party) client(options ...option) *party {
	template := serverOf()
	template.Subject = pkix.Name{CommonName: "dev", Organization: []string{"developers"}}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	template.DNSNames, template.IPAddresses = nil, nil
	return issue(issuer, template, options)
}

func authorityOf(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

func serverOf() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "api.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
}

func issue(issuer *party, template *x509.Certificate, options []option) *party {
	now := time.Now()
	template.SerialNumber, template.NotBefore, template.NotAfter = newSerial(), now.Add(-time.Hour), now.Add(time.Hour)
	p, algorithm := &party{key: newP256()}, ""
	for _, o := range options {
		if o.template != nil {
			o.template(template)
		}
		if o.key != nil {
			p.key = o.key
		}
		if o.algorithm != "" {
			algorithm = o.algorithm
		}
	}
	parent := template
	if issuer == nil {
		issuer = p
	} else {
		parent = &x509.Certificate{RawSubject: issuer.subject, SubjectKeyId: issuer.keyID}
	}
	draft, err := x509.CreateCertificate(rand.Reader, template, parent, p.key.Public(), draftKey)
	check(err)
	parsed, err := x509.ParseCertificate(draft)
	check(err)
	var tbs tbsCertificate
	_, err = asn1.Unmarshal(parsed.RawTBSCertificate, &tbs)
	check(err)
	for _, o := range options {
		if o.tbs != nil {
			o.tbs(&tbs)
		}
	}
	p.subject, p.keyID = tbs.Subject.FullBytes, parsed.SubjectKeyId
	change := func(signed []byte) []byte {
		for _, o := range options {
			if o.signed != nil {
				signed = o.signed(signed)
			}
		}
		return signed
	}
	p.der = sign(tbs, issuer.key, algorithm, change)
	return p
}

// draftKey signs the drafts, which are signed again.
var draftKey = newP256()

func newSerial() *big.Int {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(err)
	return serial.Add(serial, big.NewInt(1))
}

type signatureAlgorithm struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
	pss  bool
}

var (
	oidPKCS1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1}
	oidECDSA = asn1.ObjectIdentifier{1, 2, 840, 10045, 4}
	oidSHA2  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2}
)

func below(oid asn1.ObjectIdentifier, arcs ...int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, oid...), arcs...)
}

var signatureAlgorithms = map[string]signatureAlgorithm{
	"MD5 with RSA":      {oid: below(oidPKCS1, 4), hash: crypto.MD5},
	"SHA-1 with RSA":    {oid: below(oidPKCS1, 5), hash: crypto.SHA1},
	"SHA-256 with RSA":  {oid: below(oidPKCS1, 11), hash: crypto.SHA256},
	"SHA-384 with RSA":  {oid: below(oidPKCS1, 12), hash: crypto.SHA384},
	"SHA-512 with RSA":  {oid: below(oidPKCS1, 13), hash: crypto.SHA512},
	"SHA-256 with PSS":  {oid: below(oidPKCS1, 10), hash: crypto.SHA256, pss: true},
	"SHA-384 with PSS":  {oid: below(oidPKCS1, 10), hash: crypto.SHA384, pss: true},
	"SHA-512 with PSS":  {oid: below(oidPKCS1, 10), hash: crypto.SHA512, pss: true},
	"ECDSA and SHA-1":   {oid: below(oidECDSA, 1), hash: crypto.SHA1},
	"ECDSA and SHA-256": {oid: below(oidECDSA, 3, 2), hash: crypto.SHA256},
	"ECDSA and SHA-384": {oid: below(oidECDSA, 3, 3), hash: crypto.SHA384},
	"ECDSA and SHA-512": {oid: below(oidECDSA, 3, 4), hash: crypto.SHA512},
	"Ed25519":           {oid: asn1.ObjectIdentifier{1, 3, 101, 112}},
}

func sign(tbs tbsCertificate, key crypto.Signer, name string, change func([]byte) []byte) []byte {
	if name == "" {
		name = map[bool]string{true: "SHA-256 with RSA", false: "ECDSA and SHA-256"}[isRSA(key)]
		if _, is := key.(ed25519.PrivateKey); is {
			name = "Ed25519"
		}
	}
	algorithm, known := signatureAlgorithms[name]
	if !known {
		panic(name)
	}
	identifier := pkix.AlgorithmIdentifier{Algorithm: algorithm.oid, Parameters: algorithm.parameters(key)}
	tbs.Algorithm = identifier
	signed, err := asn1.Marshal(tbs)
	check(err)
	signed = change(signed)
	message, opts := signed, crypto.SignerOpts(algorithm.hash)
	if algorithm.hash != 0 {
		hash := algorithm.hash.New()
		hash.Write(signed)
		message = hash.Sum(nil)
	}
	if algorithm.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: algorithm.hash}
	}
	signature, err := key.Sign(rand.Reader, message, opts)
	check(err)
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, identifier, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	check(err)
	return der
}

func isRSA(key crypto.Signer) bool {
	_, is := key.Public().(*rsa.PublicKey)
	return is
}

func (a signatureAlgorithm) parameters(key crypto.Signer) asn1.RawValue {
	switch {
	case a.pss:
		number := map[crypto.Hash]int{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}[a.hash]
		hash := pkix.AlgorithmIdentifier{Algorithm: below(oidSHA2, number), Parameters: asn1.NullRawValue}
		hashDER, err := asn1.Marshal(hash)
		check(err)
		der, err := asn1.Marshal(struct {
			Hash pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
			Mask pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
			Salt int                      `asn1:"explicit,tag:2"`
		}{hash, pkix.AlgorithmIdentifier{Algorithm: below(oidPKCS1, 8), Parameters: asn1.RawValue{FullBytes: hashDER}}, a.hash.Size()})
		check(err)
		return asn1.RawValue{FullBytes: der}
	case isRSA(key):
		return asn1.NullRawValue
	default:
		return asn1.RawValue{}
	}
}

// bundle is the PEM of certificates.
func bundle(parties ...*party) []byte {
	var text []byte
	for _, p := range parties {
		text = append(text, block("CERTIFICATE", p.der)...)
	}
	return text
}

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// chain is what a server sends.
func chain(parties ...*party) [][]byte {
	var ders [][]byte
	for _, p := range parties {
		ders = append(ders, p.der)
	}
	return ders
}

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"time"
)

// missing is the text of a file that is not written.
const missing = "\x00missing"

var certificate, key = selfSigned()

// namedFiles are in the folder of every case.
var namedFiles = map[string]string{
	"ca.crt":     certificate,
	"client.crt": certificate,
	"client.key": key,
	"token":      "from-a-file\n",
	"empty":      "",
	"text":       "no PEM\n",
}

// selfSigned returns a certificate and its key, both PEM.
func selfSigned() (string, string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fail(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kubeconfig"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		fail(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		fail(err)
	}
	block := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded)
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

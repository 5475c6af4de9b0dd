// Package pki creates a certificate authority, certificates for all servers and clients of a cluster, and kubeconfigs.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const year = 365 * 24 * time.Hour

// Write writes the files to dir, readable only by the owner. A node has the form NAME=ADDRESS. The API server runs on
// the first node.
func Write(dir string, nodes []string) error {
	_, server, _ := strings.Cut(nodes[0], "=")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority("testcluster")
	if err != nil {
		return err
	}
	stranger, err := newAuthority("stranger")
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.crt": ca.pem}
	for _, s := range servers(server, nodes) {
		if err := ca.addPair(files, s); err != nil {
			return err
		}
	}
	for _, c := range clients(nodes) {
		signer, trusted := ca, ca.pem
		if c.trustsStranger {
			trusted = stranger.pem
		}
		cert, key, err := signer.issue(c)
		if err != nil {
			return err
		}
		files[c.name+".kubeconfig"] = kubeconfig(server, c.name, trusted, cert, key)
	}
	if err := addServiceAccountKeys(files); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

type identity struct {
	name           string // base name of the files
	subject        pkix.Name
	usage          x509.ExtKeyUsage
	hosts          []string
	expired        bool
	trustsStranger bool // the kubeconfig has the certificate of another authority
}

func servers(server string, nodes []string) []identity {
	api := []string{server, "127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	list := []identity{
		{name: "apiserver", subject: pkix.Name{CommonName: "kube-apiserver"}, usage: x509.ExtKeyUsageServerAuth, hosts: api},
		{name: "apiserver-kubelet", subject: masters("kube-apiserver-kubelet-client"), usage: x509.ExtKeyUsageClientAuth},
	}
	for _, node := range nodes {
		name, address, _ := strings.Cut(node, "=")
		list = append(list, identity{
			name: name, subject: pkix.Name{CommonName: name}, usage: x509.ExtKeyUsageServerAuth, hosts: []string{address, name},
		})
	}
	return list
}

func clients(nodes []string) []identity {
	user := func(name string) pkix.Name { return pkix.Name{CommonName: name} }
	list := []identity{
		{name: "admin", subject: masters("admin")},
		{name: "controller-manager", subject: user("system:kube-controller-manager")},
		{name: "scheduler", subject: user("system:kube-scheduler")},
		{name: "dev", subject: user("dev")},
		// Users with fewer, more or no permissions, see manifests/users.yaml.
		{name: "getter", subject: user("getter")},
		{name: "creator", subject: user("creator")},
		{name: "lead", subject: user("lead")},
		{name: "nobody", subject: user("nobody")},
		// For tests of failures.
		{name: "expired", subject: user("dev"), expired: true},
		{name: "stranger", subject: user("dev"), trustsStranger: true},
	}
	for _, node := range nodes {
		name, _, _ := strings.Cut(node, "=")
		kubelet := pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}}
		list = append(list, identity{name: name, subject: kubelet})
	}
	for i := range list {
		list[i].usage = x509.ExtKeyUsageClientAuth
	}
	return list
}

func masters(name string) pkix.Name {
	return pkix.Name{CommonName: name, Organization: []string{"system:masters"}}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-3 * time.Hour),
		NotAfter:              time.Now().Add(10 * year),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key, encode("CERTIFICATE", der)}, err
}

func (ca *authority) issue(id identity) (cert, key []byte, err error) {
	private, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      id.subject,
		NotBefore:    time.Now().Add(-2 * time.Hour),
		NotAfter:     time.Now().Add(10 * year),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{id.usage},
	}
	if id.expired {
		template.NotAfter = time.Now().Add(-time.Hour)
	}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, private.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of %s: %w", id.name, err)
	}
	key, err = encodeKey(private)
	return encode("CERTIFICATE", der), key, err
}

func (ca *authority) addPair(files map[string][]byte, id identity) error {
	cert, key, err := ca.issue(id)
	files[id.name+".crt"], files[id.name+".key"] = cert, key
	return err
}

func addServiceAccountKeys(files map[string][]byte) error {
	private, err := newKey()
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return err
	}
	files["service-account.pub"] = encode("PUBLIC KEY", public)
	files["service-account.key"], err = encodeKey(private)
	return err
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encode("PRIVATE KEY", der), err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

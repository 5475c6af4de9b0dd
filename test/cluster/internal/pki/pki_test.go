package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := Write(dir, []string{"node1=10.200.0.1", "node2=10.200.0.6"}); err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(read(t, dir, "ca.crt"))

	if _, err := tls.X509KeyPair(read(t, dir, "apiserver.crt"), read(t, dir, "apiserver.key")); err != nil {
		t.Error("key and certificate of the API server do not match:", err)
	}
	server := certificate(t, read(t, dir, "apiserver.crt"))
	for _, host := range []string{"10.200.0.1", "kubernetes.default.svc"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: ca, DNSName: host}); err != nil {
			t.Errorf("the certificate of the API server is not valid for %s: %v", host, err)
		}
	}

	for name, address := range map[string]string{"node1": "10.200.0.1", "node2": "10.200.0.6"} {
		kubelet := certificate(t, read(t, dir, name+".crt"))
		if _, err := kubelet.Verify(x509.VerifyOptions{Roots: ca, DNSName: address}); err != nil {
			t.Errorf("the certificate of kubelet %s is not valid for %s: %v", name, address, err)
		}
	}

	for _, name := range []string{"admin", "dev", "node1", "node2", "expired", "stranger"} {
		text := string(read(t, dir, name+".kubeconfig"))
		if !strings.Contains(text, "server: https://10.200.0.1:6443\n") {
			t.Errorf("%s.kubeconfig does not have the address of the API server", name)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if info, _ := entry.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
	}
}

func TestExpiredCertificate(t *testing.T) {
	ca, err := newAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	data, _, err := ca.issue(identity{name: "expired", usage: x509.ExtKeyUsageClientAuth, expired: true})
	if err != nil {
		t.Fatal(err)
	}
	cert, usages := certificate(t, data), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usages}); err == nil {
		t.Error("the certificate is still valid")
	}
	before := time.Now().Add(-90 * time.Minute)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usages, CurrentTime: before}); err != nil {
		t.Error("the certificate was not valid before it expired:", err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func certificate(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

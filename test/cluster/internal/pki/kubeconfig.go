package pki

import (
	"encoding/base64"
	"fmt"
)

const kubeconfigText = `apiVersion: v1
kind: Config
current-context: testcluster
clusters:
- name: testcluster
  cluster:
    server: https://%s:6443
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: testcluster
  context: {cluster: testcluster, user: %[3]s, namespace: default}
`

func kubeconfig(server, user string, ca, cert, key []byte) []byte {
	b := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfigText, server, b(ca), user, b(cert), b(key))
}

// Package node runs a node of the cluster. script/cluster starts it as PID 1 of new PID, mount and network namespaces.
// When it ends, for any reason, the kernel kills all processes of the node and removes its mounts, so it needs no
// cleanup.
package node

import (
	"crypto/tls"
	"embed"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed config
var configFiles embed.FS

// A node and its state directory. pki and containerd must exist before the node starts. The node creates conf, log,
// etcd, run, restart and fs.
type node struct {
	Dir, Cgroup, IP, Name string
	PodNetworks           []string // one of IPv4, one of IPv6, or both
	daemons               map[int]daemon
}

type step struct {
	name string
	do   func() error
}

// Run runs the node that has the API server. It returns only when one of its programs has ended unexpectedly (see
// restart.go). The file "ready" in dir exists once all programs run and the API server is ready. The file "failed" has
// the error that Run returns.
func Run(dir, cgroup, ip, name, pods string) error {
	n := newNode(dir, cgroup, ip, name, pods)
	return n.run([]step{
		{"mounts", n.mount},
		{"configuration", n.configure},
		{"containerd, etcd, API server", n.startServers},
		{"API server ready", n.awaitAPI},
		{"controllers, scheduler, kubelet", n.startControllers},
	})
}

// RunWorker runs a node without control plane.
func RunWorker(dir, cgroup, ip, name, pods string) error {
	n := newNode(dir, cgroup, ip, name, pods)
	return n.run([]step{
		{"mounts", n.mount},
		{"configuration", n.configure},
		{"containerd", n.startContainerd},
		// The kubelet exits if it cannot connect to containerd.
		{"containerd ready", n.awaitContainerd},
		{"kubelet", n.startKubelet},
	})
}

func newNode(dir, cgroup, ip, name, pods string) *node {
	return &node{Dir: dir, Cgroup: cgroup, IP: ip, Name: name, PodNetworks: strings.Split(pods, ","), daemons: map[int]daemon{}}
}

func (n *node) run(steps []step) error {
	err := n.startAndSupervise(steps)
	os.WriteFile(n.path("failed"), []byte(err.Error()+"\n"), 0o644)
	return err
}

func (n *node) startAndSupervise(steps []step) error {
	for _, step := range steps {
		start := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("%s in %d ms\n", step.name, time.Since(start).Milliseconds())
	}
	if err := os.WriteFile(n.path("ready"), nil, 0o644); err != nil {
		return err
	}
	return n.supervise()
}

func (n *node) configure() error {
	for _, dir := range []string{"conf/cni", "log", "etcd", "run", "restart"} {
		if err := os.MkdirAll(n.path(dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"10-bridge.conflist": "conf/cni/10-bridge.conflist",
		"containerd.toml":    "conf/containerd.toml",
		"kubelet.yaml":       "conf/kubelet.yaml",
	}
	for source, target := range files {
		if err := n.render(source, target); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) render(source, target string) error {
	text, err := template.ParseFS(configFiles, "config/"+source)
	if err != nil {
		return err
	}
	file, err := os.Create(n.path(target))
	if err != nil {
		return err
	}
	defer file.Close()
	return text.Execute(file, n)
}

// awaitContainerd waits until the socket of containerd accepts a connection.
func (n *node) awaitContainerd() error {
	return n.await("containerd", 20*time.Second, func() bool {
		connection, err := net.Dial("unix", "/run/containerd/containerd.sock")
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
}

// awaitAPI waits until GET /readyz returns 200.
func (n *node) awaitAPI() error {
	client, err := n.adminClient()
	if err != nil {
		return err
	}
	return n.await("kube-apiserver", 60*time.Second, func() bool {
		response, err := client.Get("https://127.0.0.1:6443/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// await polls until ready returns true. It fails after the limit, or if a program of the node ends.
func (n *node) await(program string, limit time.Duration, ready func() bool) error {
	limit = stretched(limit)
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := n.reap(false); err != nil {
			return err
		}
		if ready() {
			return nil
		}
	}
	return fmt.Errorf("timed out after %[2]v waiting for %[1]s to be ready, see %[3]s", program, limit, n.path("log/"+program+".log"))
}

// stretched multiplies a timeout by K8S_CONNECT_TIMEOUT_FACTOR, which is for slow machines.
func stretched(limit time.Duration) time.Duration {
	factor, err := strconv.Atoi(os.Getenv("K8S_CONNECT_TIMEOUT_FACTOR"))
	if err != nil {
		return limit
	}
	return limit * time.Duration(factor)
}

func (n *node) adminClient() (*http.Client, error) {
	kubeconfig, err := os.ReadFile(n.path("pki/admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	field := func(name string) []byte {
		match := regexp.MustCompile(name + `: (\S+)`).FindSubmatch(kubeconfig)
		data, _ := base64.StdEncoding.DecodeString(string(match[1]))
		return data
	}
	pair, err := tls.X509KeyPair(field("client-certificate-data"), field("client-key-data"))
	if err != nil {
		return nil, err
	}
	// No verification: on the loopback of this network namespace, only our own API server listens.
	config := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}
	return &http.Client{Timeout: stretched(time.Second), Transport: &http.Transport{TLSClientConfig: config}}, nil
}

func (n *node) path(name string) string { return filepath.Join(n.Dir, name) }

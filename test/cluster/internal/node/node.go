// Package node is a node of the cluster: the process that script/cluster starts as PID 1 of its
// own pid, mount and network namespaces. When it dies, by whatever signal, the kernel ends every
// process of the node, and with the last of them goes every mount. Nothing cleans up after it.
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
	"text/template"
	"time"
)

//go:embed config
var configFiles embed.FS

// A node and where it keeps its things: pki and containerd are there before it starts, conf, log,
// etcd and fs are its own.
type node struct {
	Dir, Cgroup, IP, Name, Pods string // Pods is the subnet of its pods
	daemons                     map[int]daemon
}

type step struct {
	name string
	do   func() error
}

// Run starts the node that has the API server and returns only when one of its programs has ended,
// which none should but those that were told to, see restart.go. The file "ready" in dir says that
// all run and the API server answers; "failed" holds what Run returns.
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

// RunWorker is Run for a node that has pods only.
func RunWorker(dir, cgroup, ip, name, pods string) error {
	n := newNode(dir, cgroup, ip, name, pods)
	return n.run([]step{
		{"mounts", n.mount},
		{"configuration", n.configure},
		{"containerd", n.startContainerd},
		// A kubelet that does not find it ends.
		{"containerd's socket", n.awaitContainerd},
		{"kubelet", n.startKubelet},
	})
}

func newNode(dir, cgroup, ip, name, pods string) *node {
	return &node{Dir: dir, Cgroup: cgroup, IP: ip, Name: name, Pods: pods, daemons: map[int]daemon{}}
}

func (n *node) run(steps []step) error {
	err := n.live(steps)
	os.WriteFile(n.path("failed"), []byte(err.Error()+"\n"), 0o644)
	return err
}

func (n *node) live(steps []step) error {
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

// awaitContainerd dials its socket until it accepts.
func (n *node) awaitContainerd() error {
	return n.await("containerd", 20*time.Second, func() bool {
		connection, err := net.Dial("unix", "/run/containerd/containerd.sock")
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
}

// awaitAPI asks /readyz, as the admin, until the answer is 200.
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

// await polls until the program is ready, as nothing would notify us. It fails if one of the node's
// programs ends meanwhile.
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
	return fmt.Errorf("%s is not ready after %v, see %s", program, limit, n.path("log/"+program+".log"))
}

// stretched is the time limit on this machine: slow ones have K8S_CONNECT_TIMEOUT_FACTOR.
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
	// The server is the one we started, on loopback of a namespace of our own.
	config := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}
	return &http.Client{Timeout: stretched(time.Second), Transport: &http.Transport{TLSClientConfig: config}}, nil
}

func (n *node) path(name string) string { return filepath.Join(n.Dir, name) }

package node

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The controllers that pods, StatefulSets and Deployments need. Starting all forty takes five seconds longer,
// because the client has a rate limit.
const controllers = "serviceaccount-controller,serviceaccount-token-controller," +
	"root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller," +
	"pod-garbage-collector-controller,node-lifecycle-controller,taint-eviction-controller," +
	"statefulset-controller,replicaset-controller,deployment-controller,endpoints-controller," +
	"endpointslice-controller"

func (n *node) startServers() error {
	pki := n.path("pki")
	if err := n.startContainerd(); err != nil {
		return err
	}
	if err := n.startKubernetes("etcd",
		"--name=node", "--data-dir="+n.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=node=http://127.0.0.1:2380",
	); err != nil {
		return err
	}
	return n.startKubernetes("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+n.IP, "--bind-address=0.0.0.0", "--secure-port=6443",
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
		"--client-ca-file="+pki+"/ca.crt", "--requestheader-client-ca-file="+pki+"/ca.crt",
		// Required from 1.37 on. No client certificate has this name, so no client can act as a front proxy.
		"--requestheader-allowed-names=front-proxy-client",
		"--tls-cert-file="+pki+"/apiserver.crt", "--tls-private-key-file="+pki+"/apiserver.key",
		"--kubelet-client-certificate="+pki+"/apiserver-kubelet.crt", "--kubelet-client-key="+pki+"/apiserver-kubelet.key",
		"--kubelet-certificate-authority="+pki+"/ca.crt", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+pki+"/service-account.pub", "--service-account-signing-key-file="+pki+"/service-account.key",
		"--enable-priority-and-fairness=false", "--profiling=false",
	)
}

func (n *node) startControllers() error {
	pki := n.path("pki")
	manager, scheduler := pki+"/controller-manager.kubeconfig", pki+"/scheduler.kubeconfig"
	if err := n.startKubernetes("kube-controller-manager",
		"--kubeconfig="+manager, "--authentication-kubeconfig="+manager, "--authorization-kubeconfig="+manager,
		"--controllers="+controllers, "--use-service-account-credentials=true", "--leader-elect=false",
		"--service-account-private-key-file="+pki+"/service-account.key", "--root-ca-file="+pki+"/ca.crt",
		"--kube-api-qps=500", "--kube-api-burst=1000", "--bind-address=127.0.0.1",
	); err != nil {
		return err
	}
	if err := n.startKubernetes("kube-scheduler",
		"--kubeconfig="+scheduler, "--authentication-kubeconfig="+scheduler, "--authorization-kubeconfig="+scheduler,
		"--leader-elect=false", "--bind-address=127.0.0.1",
	); err != nil {
		return err
	}
	return n.startKubelet()
}

func (n *node) startKubelet() error {
	return n.startKubernetes("kubelet",
		"--kubeconfig="+n.path("pki/"+n.Name+".kubeconfig"), "--config="+n.path("conf/kubelet.yaml"),
		"--hostname-override="+n.Name, "--node-ip="+n.IP,
	)
}

func (n *node) startContainerd() error {
	path, err := exec.LookPath("containerd")
	if err != nil {
		return err
	}
	return n.start(daemon{name: "containerd", path: path, argv: []string{"containerd", "--config", n.path("conf/containerd.toml")}})
}

func (n *node) startKubernetes(program string, args ...string) error {
	return n.start(daemon{name: program, path: "/proc/self/exe", argv: append([]string{program}, args...)})
}

// A daemon is a program of the node, its command line, and when it was started.
type daemon struct {
	name, path string
	argv       []string
	started    time.Time
}

// start writes the PID to run/NAME and appends the output to log/NAME.log.
func (n *node) start(d daemon) error {
	log, err := os.OpenFile(n.path("log/"+d.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	process, err := os.StartProcess(d.path, d.argv, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, log, log}})
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	d.started = time.Now()
	n.daemons[process.Pid] = d
	return os.WriteFile(n.path("run/"+d.name), []byte(strconv.Itoa(process.Pid)), 0o644)
}

// supervise reaps children until a daemon ends. As PID 1 it also reaps orphans, such as containerd shims.
func (n *node) supervise() error {
	for {
		if err := n.reap(true); err != nil {
			return err
		}
	}
}

// reap reaps one child. It returns an error if the child is a daemon that must not be restarted.
func (n *node) reap(wait bool) error {
	options := unix.WNOHANG
	if wait {
		options = 0
	}
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, options, nil)
	if err == unix.EINTR || pid == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait4: %w", err)
	}
	d, ok := n.daemons[pid]
	if !ok {
		return nil
	}
	delete(n.daemons, pid)
	if n.toRestart(d) {
		return n.restart(d)
	}
	return fmt.Errorf("%s ended (%s). Last lines of its log:\n%s", d.name, describe(status), tail(n.path("log/"+d.name+".log")))
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

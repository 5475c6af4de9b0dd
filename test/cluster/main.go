// Command testcluster has all programs of a Kubernetes node in one binary: etcd, the control plane, the kubelet and
// kubectl. The first argument, or the name of the binary, selects the program. Other commands build the images and
// certificates of the cluster, and start its nodes. script/cluster is the only caller.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"k8s_connect.test/cluster/internal/image"
	"k8s_connect.test/cluster/internal/node"
	"k8s_connect.test/cluster/internal/pki"
	"k8s_connect.test/cluster/internal/relay"
)

const usage = `usage: testcluster PROGRAM ARGS...   etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl
       testcluster pki DIR NODE=IP...                     write certificates and kubeconfigs
       testcluster image NAME OUT ENTRYPOINT LAYER...     write an OCI archive with these layers (tar files)
       testcluster store DIR ARCHIVE...                   create a containerd root with these images
       testcluster node DIR CGROUP NODE-IP NODE-NAME POD-NETWORKS    run the node with the API server, as PID 1
       testcluster worker DIR CGROUP NODE-IP NODE-NAME POD-NETWORKS  run a node without the API server, as PID 1
       testcluster relay ROUND-TRIP LOSS NETNS/TAP NETNS/TAP   connect two new TAP devices, with delay and loss`

func main() {
	program, args := filepath.Base(os.Args[0]), os.Args
	if program == "testcluster" {
		if len(os.Args) < 2 {
			fail(usage, 2)
		}
		program, args = os.Args[1], os.Args[1:]
	}
	os.Args = args
	if command, ok := commands[program]; ok {
		if len(args)-1 < command.args {
			fail(usage, 2)
		}
		if err := command.run(args[1:]); err != nil {
			fail("testcluster "+program+": "+err.Error(), 1)
		}
		return
	}
	runKubernetes(program)
}

// commands are those of testcluster itself, with the minimum number of arguments.
var commands = map[string]struct {
	args int
	run  func(args []string) error
}{
	"pki":    {2, func(a []string) error { return pki.Write(a[0], a[1:]) }},
	"image":  {4, func(a []string) error { return image.Write(a[0], a[1], a[2], a[3:]) }},
	"store":  {2, func(a []string) error { return node.MakeStore(a[0], a[1:]) }},
	"node":   {5, func(a []string) error { return node.Run(a[0], a[1], a[2], a[3], a[4]) }},
	"worker": {5, func(a []string) error { return node.RunWorker(a[0], a[1], a[2], a[3], a[4]) }},
	"relay":  {4, func(a []string) error { return relay.Run(a[0], a[1], a[2], a[3]) }},
}

func runKubernetes(program string) {
	var command *cobra.Command
	switch program {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kubelet":
		command = kubelet.NewKubeletCommand(context.Background())
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return
	default:
		fail(usage, 2)
	}
	os.Exit(cli.Run(command))
}

func fail(text string, code int) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(code)
}

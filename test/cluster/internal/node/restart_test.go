package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestToRestart(t *testing.T) {
	n := newNode(t.TempDir(), "", "", "node1", "")
	if err := os.Mkdir(n.path("restart"), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := func(name string, after time.Duration) bool {
		return n.toRestart(daemon{name: name, started: time.Now().Add(-after)})
	}
	if !ended("kube-scheduler", time.Minute) {
		t.Error("the scheduler is started again")
	}
	if ended("kube-scheduler", time.Second) {
		t.Error("a scheduler that exits at once is an error")
	}
	if ended("kubelet", time.Minute) {
		t.Error("the end of the kubelet is an error")
	}
	if err := os.WriteFile(filepath.Join(n.path("restart"), "kubelet"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !ended("kubelet", time.Minute) {
		t.Error("restart/kubelet restarts the kubelet")
	}
}

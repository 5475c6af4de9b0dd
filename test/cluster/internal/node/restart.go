package node

import (
	"os"
	"time"
)

// To restart a daemon, create the file restart/NAME and kill the PID in run/NAME. The node then starts the daemon again
// instead of ending, and removes the file.

// A daemon that exits sooner than this after its start is not started again by itself.
const stable = 5 * time.Second

// The kubelet would start these again: elsewhere they are static pods. The scheduler exits by itself, with "Scheduler
// cache is corrupted", if its watch misses that a pod was replaced by one of the same name, as it may when the API
// server is killed.
var restarted = map[string]bool{"kube-scheduler": true, "kube-controller-manager": true}

func (n *node) toRestart(d daemon) bool {
	if _, err := os.Stat(n.path("restart/" + d.name)); err == nil {
		return true
	}
	return restarted[d.name] && time.Since(d.started) > stable
}

func (n *node) restart(d daemon) error {
	if err := n.start(d); err != nil {
		return err
	}
	if err := os.Remove(n.path("restart/" + d.name)); !os.IsNotExist(err) {
		return err
	}
	return nil
}

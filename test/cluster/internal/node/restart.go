package node

import "os"

// To restart a daemon, create the file restart/NAME and kill the PID in run/NAME. The node then starts the daemon again
// instead of ending, and removes the file.

func (n *node) toRestart(d daemon) bool {
	_, err := os.Stat(n.path("restart/" + d.name))
	return err == nil
}

func (n *node) restart(d daemon) error {
	if err := n.start(d); err != nil {
		return err
	}
	return os.Remove(n.path("restart/" + d.name))
}

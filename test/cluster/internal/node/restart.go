package node

import "os"

// Who wants a daemon to be started anew makes the file restart/NAME, and ends the process that
// run/NAME tells. Its end is then no failure of the node; the file goes when its successor runs.

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

package node

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// MakeStore creates dir/containerd, a containerd root with the images of the archives. Each node starts with a copy:
// importing images at each start takes two seconds, and a store that was used delays the kubelet by twenty.
func MakeStore(dir string, archives []string) error {
	n := newNode(dir, "", "", "", "")
	for _, step := range []func() error{isolate, n.configure, n.startContainerd, awaitContainerd} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, archive := range archives {
		if out, err := ctr("images", "import", archive); err != nil {
			return fmt.Errorf("importing %s: %w: %s", archive, err, out)
		}
	}
	return n.stop()
}

func awaitContainerd() error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if _, err := ctr("version"); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("timed out after 20 s waiting for containerd to be ready")
}

// stop ends the daemons with SIGTERM, so that they flush their data.
func (n *node) stop() error {
	for pid := range n.daemons {
		process, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		if err := process.Signal(unix.SIGTERM); err != nil {
			return err
		}
		if _, err := process.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func ctr(args ...string) ([]byte, error) {
	return exec.Command("ctr", append([]string{"--namespace", "k8s.io"}, args...)...).CombinedOutput()
}

package node

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// MakeStore fills dir/containerd, a containerd root with the images of the archives and no
// container. A node starts on a copy of it: images imported at each start cost two seconds, and a
// store that has seen containers costs the kubelet twenty.
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
		time.Sleep(50 * time.Millisecond) // between two questions
	}
	return fmt.Errorf("containerd does not answer after 20 s")
}

// stop lets the daemons write out what they hold.
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

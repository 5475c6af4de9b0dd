package node

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mount mounts private directories where the programs of the node have fixed paths, so that they do not write to the
// directories of the machine.
func (n *node) mount() error {
	if err := isolate(); err != nil {
		return err
	}
	for _, dir := range []string{"/var/lib/kubelet", "/var/log"} {
		own := n.path("fs" + dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// isolate stops mount propagation to the machine and mounts a new /proc and /run. Inside the node, mounts are shared
// again, so that containers see mounts of the kubelet.
func isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making / private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("making / shared: %w", err)
	}
	return os.MkdirAll("/run/netns", 0o755)
}

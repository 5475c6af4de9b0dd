package relay

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A tap is a TAP device. The kernel removes it when this process ends.
type tap int

// openTap creates the device NAMESPACE/NAME. The thread enters the network namespace for this and leaves it again,
// because script/cluster takes any process in the namespace for a part of the node.
func openTap(path string) (tap, error) {
	namespace, name, _ := strings.Cut(path, "/")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(home)
	there, err := unix.Open(filepath.Join("/run/netns", namespace), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("%s: %w", namespace, err)
	}
	fd, err := createTap(name)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", path, err)
	}
	return fd, unix.Setns(home, unix.CLONE_NEWNET)
}

func createTap(name string) (tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	return tap(fd), unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

// Read and Write block. The poller of the Go runtime would cost a second system call for each frame.

func (t tap) Read(buffer []byte) (int, error) {
	for {
		size, err := unix.Read(int(t), buffer)
		if err != unix.EINTR {
			return size, err
		}
	}
}

func (t tap) Write(frame []byte) (int, error) { return unix.Write(int(t), frame) }

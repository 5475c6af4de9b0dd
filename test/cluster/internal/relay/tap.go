package relay

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A tap is a network device whose cable we hold: what it sends is read, what is written it receives.
// It goes when we do.
type tap int

// openTap makes the device NAME in the namespace of /run/netns that is before the slash. Its thread
// goes there for that, and comes back: what is found in a namespace counts as the node's.
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
	fd, err := makeTap(name)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", path, err)
	}
	return fd, unix.Setns(home, unix.CLONE_NEWNET)
}

func makeTap(name string) (tap, error) {
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

// Blocking calls on the bare descriptor: each end has a thread of its own, and the runtime's poller
// would cost a second system call for each frame.

func (t tap) Read(buffer []byte) (int, error) {
	for {
		size, err := unix.Read(int(t), buffer)
		if err != unix.EINTR {
			return size, err
		}
	}
}

func (t tap) Write(frame []byte) (int, error) { return unix.Write(int(t), frame) }

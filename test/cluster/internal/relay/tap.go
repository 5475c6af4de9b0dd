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

// openTap makes the device NAME in the namespace of /run/netns that is before the slash.
func openTap(path string) (tap, error) {
	namespace, name, _ := strings.Cut(path, "/")
	var fd tap
	result := make(chan error)
	go func() {
		// A thread that has been in another namespace is used for nothing else: locked, it ends with
		// this function.
		runtime.LockOSThread()
		var err error
		if err = enter(namespace); err == nil {
			fd, err = makeTap(name)
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return -1, fmt.Errorf("%s: %w", path, err)
	}
	return fd, nil
}

func enter(namespace string) error {
	fd, err := unix.Open(filepath.Join("/run/netns", namespace), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
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

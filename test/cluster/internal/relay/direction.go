package relay

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MTU 1500 plus an Ethernet header with a VLAN tag.
	frameSize = 2048
	// 100 MB of large frames, half a second at 200 MB/s. Beyond that, frames are dropped as in a router.
	queueLength = 1 << 16
)

// A direction has its own random generator with a fixed seed, so that each run drops the same frames.
type direction struct {
	delay  time.Duration
	loss   float64
	random *rand.Rand
}

type frame struct {
	data *[frameSize]byte
	size int
	due  time.Time
}

// forward writes each frame after the delay, in order. It returns after the last frame is written, or when reading
// fails. One goroutine reads and another writes, because waiting for a write would delay the next read.
func (d *direction) forward(from io.Reader, to io.Writer) error {
	queue := make(chan frame, queueLength)
	buffers := sync.Pool{New: func() any { return new([frameSize]byte) }}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for f := range queue {
			sleepUntil(f.due)
			// A write fails if the device is down. This counts as a lost frame.
			_, _ = to.Write(f.data[:f.size])
			buffers.Put(f.data)
		}
	}()
	err := d.read(from, queue, &buffers)
	close(queue)
	<-written
	return err
}

func (d *direction) read(from io.Reader, queue chan<- frame, buffers *sync.Pool) error {
	for {
		data := buffers.Get().(*[frameSize]byte)
		size, err := from.Read(data[:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if d.random.Float64() < d.loss {
			buffers.Put(data)
			continue
		}
		select {
		case queue <- frame{data, size, time.Now().Add(d.delay)}:
		default:
			buffers.Put(data)
		}
	}
}

// sleepUntil is more precise than the timers of the Go runtime, which can be a millisecond late: two per round trip.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		pause := unix.NsecToTimespec(left.Nanoseconds())
		// Nanosleep also returns after a signal. The loop sleeps for the rest of the time.
		_ = unix.Nanosleep(&pause, nil)
	}
}

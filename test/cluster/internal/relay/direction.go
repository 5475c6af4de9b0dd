package relay

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Of MTU 1500 and a header, with a VLAN's tag at most.
	frameSize = 2048
	// 100 MB of large frames: half a second at 200 MB/s. More than that is lost, as in any router.
	queueLength = 1 << 16
)

// A way is one direction. Its own randomness makes the losses of two runs the same ones.
type way struct {
	delay  time.Duration
	loss   float64
	chance *rand.Rand
}

type frame struct {
	data *[frameSize]byte
	size int
	due  time.Time
}

// carry reads frames and writes each of them when its time has come, in the order in which they
// came; it returns when there is nothing more to read and all is written. One goroutine for each
// end: a reader that also wrote would be late for the next frame.
func (w *way) carry(from io.Reader, to io.Writer) error {
	queue := make(chan frame, queueLength)
	buffers := sync.Pool{New: func() any { return new([frameSize]byte) }}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for f := range queue {
			sleepUntil(f.due)
			// A device that is down takes no frame: one more that is lost on the way.
			_, _ = to.Write(f.data[:f.size])
			buffers.Put(f.data)
		}
	}()
	err := w.read(from, queue, &buffers)
	close(queue)
	<-written
	return err
}

func (w *way) read(from io.Reader, queue chan<- frame, buffers *sync.Pool) error {
	for {
		data := buffers.Get().(*[frameSize]byte)
		size, err := from.Read(data[:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if w.chance.Float64() < w.loss {
			buffers.Put(data)
			continue
		}
		select {
		case queue <- frame{data, size, time.Now().Add(w.delay)}:
		default:
			buffers.Put(data)
		}
	}
}

// sleepUntil never ends early. The runtime's own timers can be a millisecond late, which would be
// two in each round trip.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		pause := unix.NsecToTimespec(left.Nanoseconds())
		// It also ends by a signal; the loop asks what is left.
		_ = unix.Nanosleep(&pause, nil)
	}
}

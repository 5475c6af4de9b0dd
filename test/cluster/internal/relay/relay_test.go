package relay

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// An arrival is the number in a frame, and the time of its arrival.
type arrival struct {
	number uint32
	at     time.Time
}

type receiver struct{ arrivals []arrival }

func (r *receiver) Write(data []byte) (int, error) {
	r.arrivals = append(r.arrivals, arrival{binary.BigEndian.Uint32(data), time.Now()})
	return len(data), nil
}

// send sends numbered frames in one direction. It returns the times of sending and the arrivals.
func send(t *testing.T, d *direction, count int) ([]time.Time, []arrival) {
	t.Helper()
	reader, writer := io.Pipe()
	sent := make([]time.Time, count)
	go func() {
		for i := range sent {
			sent[i] = time.Now()
			writer.Write(binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(i)))
		}
		writer.Close()
	}()
	var destination receiver
	if err := d.forward(reader, &destination); err != nil {
		t.Fatal(err)
	}
	return sent, destination.arrivals
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestFramesArriveInOrderAfterTheDelay(t *testing.T) {
	const delay = 20 * time.Millisecond
	sent, arrivals := send(t, &direction{delay: delay, random: seeded(1)}, 5000)
	if len(arrivals) != len(sent) {
		t.Fatalf("%d of %d arrived", len(arrivals), len(sent))
	}
	best := time.Hour
	for i, a := range arrivals {
		if a.number != uint32(i) {
			t.Fatalf("frame %d arrived as frame %d", a.number, i)
		}
		took := a.at.Sub(sent[i])
		if took < delay {
			t.Fatalf("frame %d arrived after %v, before the delay of %v", i, took, delay)
		}
		best = min(best, took)
	}
	// Only the fastest frame: on a busy machine, others may arrive later.
	if best > delay+5*time.Millisecond {
		t.Errorf("the fastest frame took %v", best)
	}
}

func TestSeedDeterminesLoss(t *testing.T) {
	const count, loss = 10000, 0.1
	lossy := func(seed uint64) []arrival {
		_, arrivals := send(t, &direction{loss: loss, random: seeded(seed)}, count)
		return arrivals
	}
	one, again, other := lossy(1), lossy(1), lossy(2)
	// Ten standard deviations.
	if lost := count - len(one); lost < 700 || lost > 1300 {
		t.Errorf("%d of %d frames lost, expected about %.0f", lost, count, count*loss)
	}
	if !same(one, again) {
		t.Error("the same seed dropped different frames")
	}
	if same(one, other) {
		t.Error("another seed dropped the same frames")
	}
}

func same(one, other []arrival) bool {
	if len(one) != len(other) {
		return false
	}
	for i := range one {
		if one[i].number != other[i].number {
			return false
		}
	}
	return true
}

func TestParsePercent(t *testing.T) {
	for text, want := range map[string]float64{"0%": 0, "1%": 0.01, "0.5%": 0.005, "100%": 1} {
		if got, err := parsePercent(text); err != nil || got != want {
			t.Errorf("parsePercent(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "1", "-1%", "101%", "x%", "NaN%"} {
		if got, err := parsePercent(text); err == nil {
			t.Errorf("parsePercent(%q) = %v, expected an error", text, got)
		}
	}
}

package relay

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// An arrival is a frame that holds its number, and when it came.
type arrival struct {
	number uint32
	at     time.Time
}

type receiver struct{ arrivals []arrival }

func (r *receiver) Write(data []byte) (int, error) {
	r.arrivals = append(r.arrivals, arrival{binary.BigEndian.Uint32(data), time.Now()})
	return len(data), nil
}

// send has frames carried, and answers when each was sent and what arrived.
func send(t *testing.T, w *way, count int) ([]time.Time, []arrival) {
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
	var there receiver
	if err := w.carry(reader, &there); err != nil {
		t.Fatal(err)
	}
	return sent, there.arrivals
}

func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestAllArriveInOrderAndNoneEarly(t *testing.T) {
	const delay = 20 * time.Millisecond
	sent, arrivals := send(t, &way{delay: delay, chance: chance(1)}, 5000)
	if len(arrivals) != len(sent) {
		t.Fatalf("%d of %d arrived", len(arrivals), len(sent))
	}
	best := time.Hour
	for i, a := range arrivals {
		if a.number != uint32(i) {
			t.Fatalf("frame %d came as number %d", a.number, i)
		}
		took := a.at.Sub(sent[i])
		if took < delay {
			t.Fatalf("frame %d took %v, and the way %v", i, took, delay)
		}
		best = min(best, took)
	}
	// Only the best one: any of them may wait for a busy machine.
	if best > delay+5*time.Millisecond {
		t.Errorf("none took less than %v", best)
	}
}

func TestSameSeedSameLosses(t *testing.T) {
	const count, loss = 10000, 0.1
	lossy := func(seed uint64) []arrival {
		_, arrivals := send(t, &way{loss: loss, chance: chance(seed)}, count)
		return arrivals
	}
	one, again, other := lossy(1), lossy(1), lossy(2)
	// Ten standard deviations.
	if lost := count - len(one); lost < 700 || lost > 1300 {
		t.Errorf("%d of %d lost, and not about %.0f", lost, count, count*loss)
	}
	if !same(one, again) {
		t.Error("the same seed lost other frames")
	}
	if same(one, other) {
		t.Error("another seed lost the same frames")
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

func TestPercents(t *testing.T) {
	for text, want := range map[string]float64{"0%": 0, "1%": 0.01, "0.5%": 0.005, "100%": 1} {
		if got, err := parsePercent(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "1", "-1%", "101%", "x%", "NaN%"} {
		if got, err := parsePercent(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

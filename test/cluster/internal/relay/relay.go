// Package relay is the distance between the laptop and the node, where a cluster is to have one: it
// carries Ethernet frames between two TAP devices, each in a network namespace of its own, and is
// late with each of them, or loses it. It knows nothing of what is in them, so a TCP handshake takes
// its time as on a long way.
package relay

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Run makes the two devices, each written NAMESPACE/NAME, and carries frames between them for as
// long as they are there. roundTrip is the time that a round trip takes longer, half of it each way;
// loss, as in 1%, is what part of the frames is dropped on each way.
func Run(roundTrip, loss, one, other string) error {
	delay, err := time.ParseDuration(roundTrip)
	if err != nil || delay < 0 {
		return fmt.Errorf("not a delay: %s", roundTrip)
	}
	part, err := parsePercent(loss)
	if err != nil {
		return err
	}
	first, err := openTap(one)
	if err != nil {
		return err
	}
	second, err := openTap(other)
	if err != nil {
		return err
	}
	ended := make(chan error)
	for i, ends := range [][2]tap{{first, second}, {second, first}} {
		way := &way{delay: delay / 2, loss: part, chance: rand.New(rand.NewPCG(1, uint64(i)))}
		go func() { ended <- way.carry(ends[0], ends[1]) }()
	}
	return <-ended
}

func parsePercent(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil || !isPercent || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("not a loss: %s", text)
	}
	return percent / 100, nil
}

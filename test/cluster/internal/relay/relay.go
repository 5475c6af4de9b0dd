// Package relay emulates a network with delay and packet loss between laptop and node. It forwards Ethernet frames
// between two TAP devices in two network namespaces. As it works below TCP, handshakes and retransmissions behave as in
// a real network.
package relay

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Run creates two devices, given as NAMESPACE/NAME, and forwards frames between them until one fails. roundTrip is the
// delay of a round trip; each direction has half of it. loss is the percentage of frames that are dropped in each
// direction, such as 1%.
func Run(roundTrip, loss, one, other string) error {
	delay, err := time.ParseDuration(roundTrip)
	if err != nil || delay < 0 {
		return fmt.Errorf("invalid delay: %s", roundTrip)
	}
	lossRate, err := parsePercent(loss)
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
		direction := &direction{delay: delay / 2, loss: lossRate, random: rand.New(rand.NewPCG(1, uint64(i)))}
		go func() { ended <- direction.forward(ends[0], ends[1]) }()
	}
	return <-ended
}

func parsePercent(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil || !isPercent || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("invalid loss: %s", text)
	}
	return percent / 100, nil
}

// Package timespan reads and writes spans of time as people do, who think in days: 30d, 4w, 36h.
package timespan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// mostDays is a hundred years, and well within what a time.Duration can say.
const mostDays = 36500

// Parse reads a span that is not none: days ("30d"), weeks ("4w"), or as Go does ("36h").
func Parse(s string) (time.Duration, error) {
	for unit, days := range map[string]int{"d": 1, "w": 7} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > mostDays/days {
				return 0, fmt.Errorf("%q is no time span", s)
			}
			return time.Duration(n*days) * day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time span", s)
	}
	return d, nil
}

// Format writes a span as Parse reads it: in whole days from two on, else as Go does without the zeros at its end.
func Format(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

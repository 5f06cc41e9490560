package timespan_test

import (
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/timespan"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"1d": 24 * time.Hour, "30d": 720 * time.Hour, "4w": 672 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute, "36500d": 876000 * time.Hour,
		"5214w": 5214 * 168 * time.Hour,
	} {
		got, err := timespan.Parse(in)
		if err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", in, got, err, want)
		}
		if again, err := timespan.Parse(timespan.Format(got)); err != nil || again != got {
			t.Errorf("%s is written %s", in, timespan.Format(got))
		}
	}
	for _, in := range []string{"", "0d", "-1d", "1.5d", "d", "soon", "0s", "-1h", "36501d", "5215w", "20000w", "9999999999999999999d"} {
		if got, err := timespan.Parse(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "24h": 24 * time.Hour, "2d": 48 * time.Hour, "36h": 36 * time.Hour, "49h30m": 49*time.Hour + 30*time.Minute, "10m": 10 * time.Minute, "1h0m5s": time.Hour + 5*time.Second,
	} {
		if got := timespan.Format(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

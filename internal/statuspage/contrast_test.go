package statuspage

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast: text can be read on both grounds, light and dark (WCAG 2.2, 1.4.3: 4.5 to 1), and edges of fields can be seen
// (1.4.11: 3 to 1).
func TestContrast(t *testing.T) {
	css, err := files.ReadFile("assets/page.css")
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string][]string{}
	for _, m := range regexp.MustCompile(`--(\w+): light-dark\((#\w+), (#\w+)\)`).FindAllStringSubmatch(string(css), -1) {
		colours[m[1]] = m[2:]
	}
	for name, least := range map[string]float64{"ink": 4.5, "dim": 4.5, "link": 4.5, "due": 4.5, "held": 4.5, "failing": 4.5, "current": 4.5, "edge": 3} {
		for scheme := range 2 {
			for _, ground := range []string{"paper", "sheet"} {
				if len(colours[name]) != 2 {
					t.Fatalf("no colour %s", name)
				}
				a, b := luminance(t, colours[name][scheme]), luminance(t, colours[ground][scheme])
				if got := (max(a, b) + .05) / (min(a, b) + .05); got < least {
					t.Errorf("%s on %s (%d): %.2f", name, ground, scheme, got)
				}
			}
		}
	}
}

// luminance is that of WCAG.
func luminance(t *testing.T, colour string) float64 {
	hex := strings.TrimPrefix(colour, "#")
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

package policy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// calendar is a date, the year first, and what numbers follow it; modifier is the text that a layout has at its end.
type calendar struct {
	numbers  numbers
	modifier string
}

func (c calendar) compare(v version) int {
	other := v.(calendar)
	if by := c.numbers.compareTo(other.numbers); by != 0 {
		return by
	}
	return natural(c.modifier, other.modifier)
}

// word is a part of a layout: the year counts most, whatever its place.
type word struct {
	pattern string
	weight  int
}

// layoutWords are those of calver.org.
var layoutWords = map[string]word{
	"YYYY": {`[1-9][0-9]{3}`, 0}, "YY": {`[1-9]?[0-9]{1,2}`, 0}, "0Y": {`[0-9]{2,3}`, 0},
	"MM": {`1[0-2]|[1-9]`, 1}, "0M": {`0[1-9]|1[0-2]`, 1},
	"WW": {`[1-4][0-9]|5[0-3]|[1-9]`, 1}, "0W": {`0[1-9]|[1-4][0-9]|5[0-3]`, 1},
	"DD": {`[12][0-9]|3[01]|[1-9]`, 2}, "0D": {`0[1-9]|[12][0-9]|3[01]`, 2},
	"MAJOR": {`[0-9]+`, 3}, "MINOR": {`[0-9]+`, 4}, "MICRO": {`[0-9]+`, 5}, "MODIFIER": {`\w[\w.-]*`, 6},
}

var layoutWord = regexp.MustCompile(`YYYY|YY|0Y|0M|0W|0D|MAJOR|MINOR|MICRO|MODIFIER|MM|WW|DD`)

// calverReader reads dates in that layout; without one, numbers with a year of four digits first, the parts separated by
// any of . - _ or by nothing.
func calverReader(layout string) (reader, error) {
	if layout == "" {
		return reader{"date", readDate}, nil
	}
	var weights []int
	var pattern strings.Builder
	rest := layout
	for at := layoutWord.FindStringIndex(rest); at != nil; at = layoutWord.FindStringIndex(rest) {
		w := layoutWords[rest[at[0]:at[1]]]
		weights = append(weights, w.weight)
		pattern.WriteString(regexp.QuoteMeta(rest[:at[0]]) + "(" + w.pattern + ")")
		rest = rest[at[1]:]
	}
	expression, err := regexp.Compile("^" + pattern.String() + regexp.QuoteMeta(rest) + "$")
	if err != nil || !slices.Contains(weights, 0) {
		return reader{}, fault.Usagef("for example: YYYY.0M.0D, YY.0M.MICRO, vYYYY.MM-MODIFIER; the words are those of calver.org",
			"constraint %q is no layout of dates with a year", layout)
	}
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weights[a], weights[b]) })
	return reader{"date like " + layout, func(value string) (version, verdict) {
		groups := expression.FindStringSubmatch(value)
		if groups == nil {
			return nil, unread
		}
		var c calendar
		for _, i := range order {
			if weights[i] == layoutWords["MODIFIER"].weight {
				c.modifier = groups[i+1]
			} else {
				c.numbers = append(c.numbers, groups[i+1])
			}
		}
		return c, admitted
	}}, nil
}

// maxMonth is the largest second number of a date; weeks need a layout.
const maxMonth = "12"

func readDate(value string) (version, verdict) {
	all := numbers(strings.FieldsFunc(strings.TrimPrefix(value, "v"), func(c rune) bool { return strings.ContainsRune(".-_", c) }))
	if len(all) == 0 || slices.ContainsFunc(all, func(n string) bool { return !isDigits(n) }) {
		return nil, unread
	}
	if first := all[0]; len(first) > 4 {
		all = append(compact(first), all[1:]...)
	}
	switch {
	case len(all) == 0 || len(all[0]) != 4 || all[0] < "1970" || all[0] > "2199":
		return nil, unread
	case len(all) > 1 && (compareDigits(all[1], "0") == 0 || compareDigits(all[1], maxMonth) > 0):
		return nil, unread
	}
	return calendar{numbers: all}, admitted
}

// compact are the numbers of YYYYMMDD, with HHMM or HHMMSS after it; nil is none of these.
func compact(digits string) numbers {
	if n := len(digits); n != 8 && n != 12 && n != 14 {
		return nil
	}
	all := numbers{digits[:4]}
	for i := 4; i < len(digits); i += 2 {
		all = append(all, digits[i:i+2])
	}
	return all
}

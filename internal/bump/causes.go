package bump

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
)

// cause is what several failures have in common: how often it is there, and the places that it does not name itself.
type cause struct {
	err    error
	times  int
	places []string
}

// summed is the error of that kind that the failures come to. Those that say the same are told once. A hint that is not for
// all of them stands below those that it is for.
func summed(kind fault.Kind, failures []Failure) error {
	causes := causesOf(failures)
	if len(causes) == 1 {
		return &fault.Error{Kind: kind, Hint: fault.HintOf(causes[0].err), Err: causes[0].alone()}
	}
	var hints []string
	by := map[string][]error{}
	for _, c := range causes {
		hint := fault.HintOf(c.err)
		if by[hint] == nil {
			hints = append(hints, hint)
		}
		by[hint] = append(by[hint], c.among())
	}
	if len(hints) == 1 {
		return &fault.Error{Kind: kind, Hint: hints[0], Err: fmt.Errorf("%d failures:\n%w", len(failures), errors.Join(by[hints[0]]...))}
	}
	var lines []string
	for _, hint := range hints {
		lines = append(lines, errors.Join(by[hint]...).Error())
		if hint != "" {
			lines = append(lines, "  hint: "+hint)
		}
	}
	return &fault.Error{Kind: kind, Err: fmt.Errorf("%d failures:\n%s", len(failures), strings.Join(lines, "\n"))}
}

// causesOf are the different causes, in their order.
func causesOf(failures []Failure) (causes []cause) {
	at := map[string]int{}
	for _, f := range failures {
		text := f.Err.Error()
		i, known := at[text]
		if !known {
			i = len(causes)
			at[text] = i
			causes = append(causes, cause{err: f.Err})
		}
		c := &causes[i]
		c.times++
		if where := (config.Notice{File: f.File, Line: f.Line}).Where(); !strings.Contains(text, where) && !slices.Contains(c.places, where) {
			c.places = append(c.places, where)
		}
	}
	return causes
}

// placesTold is how many places of one cause an error names.
const placesTold = 3

// where names the places, "" without any.
func (c cause) where() string {
	told := c.places[:min(len(c.places), placesTold)]
	if len(told) == 0 {
		return ""
	}
	text := "for " + strings.Join(told, ", ")
	if more := len(c.places) - len(told); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// alone is the cause where there is no other.
func (c cause) alone() error {
	err := c.err
	if c.times > 1 {
		err = fmt.Errorf("%d failures, all of them: %w", c.times, err)
	}
	return with(err, c.where())
}

// among is the cause as one of several.
func (c cause) among() error {
	said := c.where()
	if c.times > 1 {
		said = strings.TrimSuffix(fmt.Sprintf("%d times: %s", c.times, said), ": ")
	}
	return with(c.err, said)
}

func with(err error, said string) error {
	if said == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, said)
}

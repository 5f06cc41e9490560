package cli

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// placeOf is the file and the line that an error is about, "" and 0 when it is about no file that is there.
func placeOf(err error) (file string, line int) {
	for err != nil {
		var f *fault.Error
		if !errors.As(err, &f) {
			return "", 0
		}
		name, number, ok := cutLast(f.Where, ":")
		if line, bad := strconv.Atoi(number); ok && bad == nil && line > 0 {
			if stat, err := os.Stat(name); err == nil && stat.Mode().IsRegular() {
				return name, line
			}
		}
		err = f.Err
	}
	return "", 0
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

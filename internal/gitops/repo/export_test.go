package repo

import "testing"

// LimitAnswers makes the limit on what a server may send one that a test reaches.
func LimitAnswers(t *testing.T, bytes int64) {
	was := maxAnswer
	maxAnswer = bytes
	t.Cleanup(func() { maxAnswer = was })
}

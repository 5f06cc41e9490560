package reconcile

// Most is how many images wait for a round at most.
const Most = most

// Waiting is how many images wait for a round of any target.
func (l *Loop) Waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.queues {
		n = max(n, len(q.images))
	}
	return n
}

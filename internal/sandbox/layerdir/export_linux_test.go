package layerdir

// SetMaxEntries changes how many entries a layer may have, and returns what changes it back.
func SetMaxEntries(n int) func() {
	old := maxEntries
	maxEntries = n
	return func() { maxEntries = old }
}

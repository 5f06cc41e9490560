package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func digestOf(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// TestLedgerShared writes with many ledgers of one file at once, as processes do: nothing is lost.
func TestLedgerShared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "layers.json")
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() { OpenLedger(file).note(line{Key: fmt.Sprint(i), Size: 1}) })
	}
	group.Wait()
	for i := range 20 {
		if _, ok := OpenLedger(file).known(fmt.Sprint(i)); !ok {
			t.Errorf("%d was lost", i)
		}
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if stat, _ := os.Stat(file); err != nil || len(left) != 2 || stat.Mode().Perm() != 0o600 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestLedgerBounded keeps the newest lines, and the newest word on each key.
func TestLedgerBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layers.json")
	l := OpenLedger(file)
	var lines []line
	for i := range 2*ledgerLines + 10 {
		lines = append(lines, line{Key: fmt.Sprint(i), Digest: digestOf("a"), Size: 1})
	}
	l.note(lines...)
	l.note(line{Key: "9000", Digest: digestOf("a"), Size: 2}) // 8202 lines and one
	l = OpenLedger(file)
	if _, ok := l.known(fmt.Sprint(ledgerLines + 9)); ok || len(l.lines) != ledgerLines {
		t.Errorf("%d lines, the oldest among them: %v", len(l.lines), ok)
	}
	if known, ok := l.known("9000"); !ok || known.Size != 2 {
		t.Errorf("%+v", known)
	}
}

// TestLedgerGrows adds to the file, whatever is in it, and lives with a line that a killed process wrote half of.
func TestLedgerGrows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layers.json")
	OpenLedger(file).note(line{Key: "a", Size: 1})
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	OpenLedger(file).note(line{Key: "b", Size: 1})
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) || after.Size() != 2*before.Size() {
		t.Errorf("it was written anew: %v, %v", after, err)
	}
	if err := os.Truncate(file, 2*before.Size()-3); err != nil {
		t.Fatal(err)
	}
	OpenLedger(file).note(line{Key: "c", Size: 1})
	l := OpenLedger(file)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, ok := l.known(key); ok != want {
			t.Errorf("%s: %v", key, ok)
		}
	}
}

// TestLedgerSpoiled takes a file that is no ledger for an empty one, and replaces it.
func TestLedgerSpoiled(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"not JSON":      func(file string) error { return os.WriteFile(file, []byte(`[{"key":`), 0o600) },
		"no digest":     func(file string) error { return os.WriteFile(file, []byte(`[{"key":"a","digest":"../../x"}]`), 0o600) },
		"another shape": func(file string) error { return os.WriteFile(file, []byte(`{"key":"a"}`), 0o600) },
		"too large": func(file string) error {
			return os.WriteFile(file, []byte("["+strings.Repeat(" ", ledgerBytes)+`]`), 0o600)
		},
		"a link": func(file string) error { return os.Symlink("/nowhere/at/all", file) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "layers.json")
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			l := OpenLedger(file)
			if _, ok := l.known("a"); ok {
				t.Error("it was believed")
			}
			l.note(line{Key: "b", Size: 1})
			if _, ok := OpenLedger(file).known("b"); !ok {
				t.Error("it was not replaced")
			}
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := OpenLedger(filepath.Join(dir, "file", "layers.json")) // which cannot be written
	l.note(line{Key: "a", Size: 1})
	if _, ok := l.known("a"); !ok {
		t.Error("it forgot what this process told it")
	}
	(*Ledger)(nil).note(line{Key: "a"})
}

// TestGuess believes a ledger only where it does not contradict the configuration.
func TestGuess(t *testing.T) {
	known := OpenLedger(filepath.Join(t.TempDir(), "layers.json"))
	l := &layer{diffID: digestOf("a"), ledger: known}
	for _, tt := range []struct {
		says line
		ok   bool
	}{
		{line{Digest: digestOf("d"), DiffID: digestOf("a"), Size: 1}, true},
		{line{Digest: digestOf("d"), DiffID: digestOf("b"), Size: 1}, false},
		{line{DiffID: digestOf("a"), Size: 1}, false},
		{line{Repository: "app"}, false},
	} {
		tt.says.Key = l.keys(l.diffID)[0]
		known.note(tt.says)
		if digest, _, ok := l.Guess(); ok != tt.ok || ok && digest != tt.says.Digest {
			t.Errorf("%+v: %v, %v", tt.says, digest, ok)
		}
	}
	if _, err := l.Digest(); err == nil {
		t.Error("a guess is no digest before it is confirmed")
	}
}

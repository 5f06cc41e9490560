package statuspage_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/without"
)

// browser is a Chromium that is driven over a pipe with the DevTools protocol.
type browser struct {
	t       testing.TB
	in      *os.File
	session string

	mu      sync.Mutex
	id      int
	answers map[int]chan answer
	said    []string // console messages of level error and warning, exceptions, and violations of policies
	asked   []string // addresses of requests
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// open starts a Chromium with one empty page.
func open(t testing.TB) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		without.Skip(t, "Chromium on PATH: Debian's package chromium, or Google Chrome")
	}
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) }) // not t.TempDir: what outlives the browser for a moment still writes there
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-component-update", "--disable-background-networking", "--disable-sync", "--no-proxy-server",
		"--hide-scrollbars", "--force-color-profile=srgb", "--lang=en", "--user-data-dir="+profile, "about:blank")
	c.ExtraFiles = []*os.File{theirIn, theirOut}
	c.Env = append(os.Environ(), "TZ=UTC")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, answers: map[int]chan answer{}}
	read := make(chan struct{})
	go b.read(out, read)
	t.Cleanup(func() {
		b.post("Browser.close", nil)
		timer := time.AfterFunc(10*time.Second, func() { c.Process.Kill() })
		c.Wait()
		timer.Stop()
		in.Close()
		<-read
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes in what the browser says, until it ends.
func (b *browser) read(out *os.File, done chan<- struct{}) {
	defer close(done)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			answer
		}
		if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.answers[m.ID]; c != nil {
			c <- m.answer
			delete(b.answers, m.ID)
		}
		b.note(m.Method, m.Params)
		b.mu.Unlock()
	}
}

// note keeps what a test looks at in the end.
func (b *browser) note(method string, params json.RawMessage) {
	var p struct {
		Type             string
		Args             []struct{ Value any }
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Request struct{ URL string }
	}
	json.Unmarshal(params, &p)
	switch {
	case method == "Runtime.consoleAPICalled" && slices.Contains([]string{"error", "warning", "assert"}, p.Type):
		b.said = append(b.said, fmt.Sprint(p.Args))
	case method == "Runtime.exceptionThrown":
		b.said = append(b.said, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	case method == "Log.entryAdded" && p.Entry.Level != "verbose" && p.Entry.Level != "info":
		b.said = append(b.said, p.Entry.Text+" "+p.Entry.URL)
	case method == "Network.requestWillBeSent":
		b.asked = append(b.asked, p.Request.URL)
	}
}

// post sends a command without waiting for what becomes of it.
func (b *browser) post(method string, params any) <-chan answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.id++
	command := map[string]any{"id": b.id, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" && !strings.HasPrefix(method, "Browser.") {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	c := make(chan answer, 1)
	b.answers[b.id] = c
	b.in.Write(append(text, 0))
	return c
}

// call does a command.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

func (b *browser) try(method string, params, result any) error {
	select {
	case a := <-b.post(method, params):
		switch {
		case a.Error != nil:
			return errors.New(a.Error.Message)
		case result != nil:
			return json.Unmarshal(a.Result, result)
		}
		return nil
	case <-time.After(60 * time.Second):
		b.t.Fatalf("%s: no answer", method)
		return nil
	}
}

// run runs an expression in the page, waits for it if it is a promise, and gives its value as JSON.
func (b *browser) run(expression string) string {
	b.t.Helper()
	value, err := b.evaluate(expression)
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (b *browser) evaluate(expression string) (string, error) {
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	if err := b.try("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r); err != nil {
		return "", err
	}
	if r.ExceptionDetails != nil {
		return "", errors.New(r.ExceptionDetails.Exception.Description)
	}
	return quoted(r.Result.Value), nil
}

// wait waits until an expression is true. It asks from outside, as pages may be replaced meanwhile, or run no scripts.
func (b *browser) wait(expression string) {
	b.t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if got, err := b.evaluate("!!(" + expression + ")"); err == nil && got == "true" {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("never: %s\n%q", expression, b.said)
		}
	}
}

// visit opens an address and waits until it is shown.
func (b *browser) visit(address string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": address}, nil)
	b.wait(`location.href === ` + quoted(address) + ` && document.readyState === "complete"`)
}

// key presses a key.
func (b *browser) key(key string, modifiers int) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}
	event := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
	switch key {
	case "Enter":
		event["text"] = "\r"
	case " ":
		event["text"], event["code"] = " ", "Space"
	}
	b.call("Input.dispatchKeyEvent", event, nil)
	event["type"] = "keyUp"
	delete(event, "text")
	b.call("Input.dispatchKeyEvent", event, nil)
}

// write writes into what has the focus.
func (b *browser) write(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// window is how large the page is, and whether the reader likes it dark.
func (b *browser) window(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// clean fails the test when the page had anything to complain about, or asked somebody else than the server.
func (b *browser) clean(server string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		b.t.Errorf("the console says %q", b.said)
	}
	for _, address := range b.asked {
		if !strings.HasPrefix(address, server+"/") && !strings.HasPrefix(address, "data:") && address != "about:blank" {
			b.t.Errorf("the page asked for %s", address)
		}
	}
}

// quoted is a value as JSON and JavaScript write it.
func quoted(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

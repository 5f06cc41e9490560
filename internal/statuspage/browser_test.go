package statuspage_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

// TestBrowser is what people meet, in a real Chromium.
func TestBrowser(t *testing.T) {
	b := open(t)
	for _, tt := range []struct {
		name string
		do   func(*testing.T, *browser)
	}{
		{"live", live}, {"filter", filters}, {"keyboard", keyboard}, {"actions", act}, {"without scripts", scriptless}, {"languages", languages}, {"sizes", sizes},
		{"hostile", hostile}, {"1,000 images", thousand}, {"connection lost", lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			b.window(1280, 900, "light")
			defer b.visit("about:blank") // ends the events
			tt.do(t, b)
		})
	}
}

// serve serves a board until the test ends.
func serve(t *testing.T, b *browser, o statuspage.Options) *httptest.Server {
	stop := make(chan struct{})
	o.Stop = stop
	s := httptest.NewServer(statuspage.New(o))
	b.mu.Lock()
	b.said, b.asked = nil, nil
	b.mu.Unlock()
	t.Cleanup(func() { close(stop); s.Close() })
	return s
}

const rssRow = `document.querySelector("tr:has(b)")`

// live: a change is shown without a reload, and what the reader was at stays.
func live(t *testing.T, b *browser) {
	bd := shown()
	url := serve(t, b, statuspage.Options{Board: bd}).URL
	b.visit(url + "/")
	b.wait(`document.getElementById("live").textContent === "live"`)
	b.run(`window.mark = 1; document.querySelector("tr details").open = true; window.row = ` + rssRow + `;
		document.querySelector("[name=q]").focus(); getSelection().selectAllChildren(document.querySelector("tr:last-child b"))`)
	b.run(`document.querySelector("tr details summary").focus()`)
	r := round()
	r.Images[0].Newest, r.Images[0].Why = "1.6.0", "newest of 15 tags"
	r.Images = append(r.Images, image("harbor.example.com/sandbox/new", "2.0.0"))
	r.Commits = []status.Commit{{SHA: "1234567890", Summary: "Update rss to 1.6.0", At: now}}
	bd.Record(target, now.Add(time.Minute), r)
	bd.Mark(target, status.Running, time.Time{})
	b.wait(`document.querySelector("tr .new").textContent === "1.6.0"`)
	b.wait(`document.querySelector(".state").textContent === "at work now"`)
	b.wait(`document.querySelector(".commits .what").textContent === "Update rss to 1.6.0"`)
	b.wait(`document.querySelector("h1").textContent.startsWith("7 images")`)
	for _, kept := range []string{`window.mark === 1`, `document.querySelector("tr details").open`, `document.activeElement === document.querySelector("tr details summary")`,
		`window.row === ` + rssRow, `document.querySelectorAll("tr[data-s]").length === 7`, `document.querySelector("[data-count='']").textContent === "7"`,
		`document.title === "(2) imgbump"`, `getSelection().toString() === "argocd"`} {
		if got := b.run(kept); got != "true" {
			t.Errorf("%s: %s", kept, got)
		}
	}
	b.clean(url)

	b.run(`document.body.dataset.version = "older"`)
	bd.Mark(target, status.Idle, time.Time{})
	b.wait(`window.mark === undefined && document.readyState === "complete"`) // a page of another version loads itself anew
}

// rows are the names that are shown.
const rows = `[...document.querySelectorAll("tr[data-s]")].filter(r => r.checkVisibility()).map(r => r.querySelector("b").textContent).join(" ")`

func filters(t *testing.T, b *browser) {
	bd := shown()
	url := serve(t, b, statuspage.Options{Board: bd}).URL
	b.visit(url + "/")
	for _, tt := range []struct{ text, show, want, said string }{
		{"", "", "rss hitomi postgres slack very-long-name-of-an-image-that-somebody-chose-on-a-monday argocd", ""},
		{"SANDBOX 1.3", "", "hitomi", "1 of 6 images"},
		{"", "due", "rss argocd", "2 of 6 images"},
		{"argo", "due", "argocd", "1 of 6 images"},
		{"dump", "held", "postgres", "1 of 6 images"},
		{"", "failing", "slack", "1 of 6 images"},
		{"nobody", "", "", "0 of 6 images"},
	} {
		b.run(`document.querySelector("[name=show][value='` + tt.show + `']").click(); { const q = document.querySelector("[name=q]"); q.value = ` + quoted(tt.text) +
			`; q.dispatchEvent(new Event("input", { bubbles: true })) }`)
		if got := b.run(rows); got != quoted(tt.want) {
			t.Errorf("%q %q: %s, want %s", tt.text, tt.show, got, tt.want)
		}
		if got := b.run(`document.getElementById("matching").textContent`); got != quoted(tt.said) {
			t.Errorf("%q %q: said %s", tt.text, tt.show, got)
		}
	}
	if got := b.run(`document.getElementById("nothing").checkVisibility()`); got != "true" {
		t.Error("an empty table does not say why")
	}
	b.visit(url + "/?q=sandbox&show=due") // what the address bar had, in another tab
	b.wait(rows + ` === "rss"`)
	r := round()
	r.Images[1].Newest = "1.4.0"
	bd.Record(target, now, r)
	b.wait(rows + ` === "rss hitomi"`)
	b.run(`{ const q = document.querySelector("[name=q]"); q.value = "1.4.0"; q.dispatchEvent(new Event("input", { bubbles: true })) }`)
	b.wait(rows + ` === "hitomi"`)
	b.clean(url)
}

// keyboard: everything can be reached and used by keyboard alone, and one sees where one is.
func keyboard(t *testing.T, b *browser) {
	url := serve(t, b, statuspage.Options{Board: shown()}).URL
	b.visit(url + "/")
	b.key("Tab", 0)
	if got := b.run(`document.activeElement.className + document.activeElement.checkVisibility() + (document.activeElement.getBoundingClientRect().left >= 0)`); got != `"skiptruetrue"` {
		t.Errorf("first: %s", got)
	}
	var met []string
	for range 20 {
		b.key("Tab", 0)
		met = append(met, b.run(`(e => e.name || e.textContent.trim() || e.getAttribute("aria-label"))(document.activeElement)`))
		if got := b.run(`(e => (e.type === "radio" ? getComputedStyle(e.nextElementSibling) : getComputedStyle(e)).outlineStyle)(document.activeElement)`); got != `"solid"` && got != `"auto"` {
			t.Errorf("nobody sees the focus on %s: %s", met[len(met)-1], got)
		}
		if strings.Contains(met[len(met)-1], "日本語") {
			break
		}
	}
	for _, want := range []string{"q", "show", "ksera524/k8s", "4f1c2ab", "pull request 118", "Open the picture: The tree of the applications of k8s@main", "3 places, 2 versions", "as JSON", "日本語"} {
		if !slices.Contains(met, quoted(want)) {
			t.Errorf("%s is not reached: %s", want, met)
		}
	}
	b.run(`document.querySelector("[name=show]").focus()`)
	b.key("ArrowRight", 0)
	b.wait(rows + ` === "rss argocd"`)
	b.run(`document.querySelector("tr summary").focus()`)
	b.key("Enter", 0)
	b.wait(`document.querySelector("tr details").open`)
	b.clean(url)
}

func act(t *testing.T, b *browser) {
	a := &actions{}
	url := serve(t, b, statuspage.Options{Board: shown(), Actions: a, Token: "secret"}).URL
	b.visit(url + "/")
	const inRow, said = `document.querySelector("tr:nth-child(1) a.act")`, `document.getElementById("said").textContent`
	if got := b.run(inRow + `.checkVisibility()`); got != "false" {
		t.Error("actions are offered before the token is known")
	}
	b.run(`document.getElementById("unlock").focus()`)
	b.key("Enter", 0)
	b.wait(`document.activeElement.name === "token"`)
	b.write("wrong")
	b.key("Enter", 0)
	b.wait(said + ` === "That is not the token."`)
	b.write("secret")
	b.key("Enter", 0)
	b.wait(inRow + `.checkVisibility() && !document.getElementById("act").open && document.activeElement.id === "lock"`)
	b.run(inRow + `.focus()`)
	b.key("Enter", 0)
	b.wait(`document.activeElement.name === "reason"`)
	b.write("waits for 2.0")
	b.key("Enter", 0)
	b.wait(said + ` === "Held back."`)
	b.key("Escape", 0)
	b.wait(`!document.getElementById("act").open`)
	b.visit(url + "/?lang=ja") // the tab remembers
	b.run(`document.querySelector("tr:nth-child(3) a.act").click()`)
	if got := b.run(`[...document.querySelectorAll("#act button")].filter(e => e.checkVisibility()).map(e => e.textContent).join()`); got != `"保留を解除,今すぐ更新,閉じる"` {
		t.Error(got)
	}
	b.run(`document.getElementById("release").click()`)
	b.wait(said + ` === "保留を解除しました。"`)
	b.run(`document.getElementById("close").click(); document.querySelector(".when a.act").click(); document.getElementById("update").click()`)
	b.wait(said + ` === "更新を受け付けました。"`)
	want := []string{"hold k8s@main harbor.example.com/sandbox/rss: waits for 2.0", "release k8s@main docker.io/library/postgres", "update k8s@main "}
	if !slices.Equal(a.done, want) {
		t.Errorf("%q", a.done)
	}
	b.run(`document.getElementById("close").click(); document.getElementById("lock").click()`)
	if got := b.run(inRow + `.checkVisibility() + sessionStorage.length + document.cookie`); got != `0` && got != `"0"` {
		t.Errorf("locked: %s", got)
	}
	b.mu.Lock()
	b.said = slices.DeleteFunc(b.said, func(s string) bool { return strings.Contains(s, "401 (Unauthorized)") }) // of the wrong token
	b.mu.Unlock()
	b.clean(url)
}

// scriptless: without scripts the page can be read, filtered and acted on.
func scriptless(t *testing.T, b *browser) {
	a := &actions{}
	url := serve(t, b, statuspage.Options{Board: shown(), Actions: a, Token: "secret"}).URL
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	defer b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": false}, nil)
	loaded := func(path string) {
		t.Helper()
		b.wait(`document.readyState + location.pathname === ` + quoted("complete"+path))
	}
	b.call("Page.navigate", map[string]any{"url": url + "/?show=due"}, nil)
	loaded("/")
	if got := b.run(rows); got != `"rss argocd"` {
		t.Error(got)
	}
	if got := b.run(`document.querySelector("time").textContent.endsWith(" UTC") && document.querySelector("button.without").checkVisibility() && document.querySelector("noscript a").checkVisibility()`); got != "true" {
		t.Error("the page counts on scripts")
	}
	b.run(`document.querySelector("tr:nth-child(1) a.act").click()`)
	b.wait(`document.querySelector("dialog[open]") !== null && document.readyState === "complete"`)
	if got := b.run(`[...document.querySelectorAll("dialog .with, #check, #lock")].some(e => e.checkVisibility())`); got != "false" {
		t.Error("the form speaks of what needs scripts")
	}
	b.run(`document.querySelector("[name=token]").value = "secret"; document.querySelector("[name=reason]").value = "so"; document.getElementById("hold").click()`)
	loaded("/actions/hold")
	if got := b.run(`document.getElementById("said").textContent.trim()`); got != `"Held back."` || len(a.done) != 1 {
		t.Error(got, a.done)
	}
	b.run(`document.querySelector("main a").click()`)
	loaded("/")
}

// languages and colours are those that the reader likes.
func languages(t *testing.T, b *browser) {
	url := serve(t, b, statuspage.Options{Board: shown()}).URL
	b.call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]string{"Accept-Language": "ja"}}, nil)
	defer b.call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]string{}}, nil)
	b.window(390, 844, "dark")
	b.visit(url + "/")
	b.wait(`document.getElementById("live").textContent === "自動更新中"`)
	for what, want := range map[string]string{
		`document.documentElement.lang`:                                           `"ja"`,
		`document.querySelector(".when time").textContent.endsWith("前")`:          `true`,
		`document.querySelector(".when time").title.includes("年")`:                `true`,
		`getComputedStyle(document.body).backgroundColor`:                         `"rgb(21, 24, 26)"`,
		`document.querySelector("tr .mark").textContent`:                          `"更新待ち"`,
		`document.querySelector("[lang=en]").textContent.includes("is a number")`: `true`,
	} {
		if got := b.run(what); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	b.run(`document.querySelector("a[lang=en]").click()`)
	b.wait(`document.documentElement.lang === "en" && document.readyState === "complete"`)
	b.clean(url)
}

// sizes: nothing sticks out of a phone, or of a page that is enlarged four times.
func sizes(t *testing.T, b *browser) {
	bd := shown()
	long := strings.Repeat("very-long-", 20)
	bd.Record(target, now, status.Round{Images: []status.Image{{Name: long, Policy: long, Origin: long, Newest: long, Why: long, Err: long, Hint: long,
		Places: []status.Place{{File: long, Application: long, Current: long, Hold: long}}}}, Failures: []status.Failure{{Where: long, Err: long, Hint: long}},
		Commits: []status.Commit{{SHA: long, Summary: long}}})
	url := serve(t, b, statuspage.Options{Board: bd, Actions: &actions{}, Token: "secret"}).URL
	for _, width := range []int{320, 390, 768, 1200, 2560} {
		for _, address := range []string{"/", "/?lang=ja"} {
			b.window(width, 800, "light")
			b.visit(url + address)
			if got := b.run(`document.documentElement.scrollWidth <= innerWidth`); got != "true" {
				t.Errorf("%s at %d: %s wide", address, width, b.run(`document.documentElement.scrollWidth`))
			}
		}
	}
	b.clean(url)
}

func hostile(t *testing.T, b *browser) {
	evil := `"><script>window.evil=1</script><img src=x onerror="window.evil=1"><svg onload="window.evil=1">`
	bd := status.NewBoard(now, status.Target{Name: evil, Repository: evil, Branch: evil, Page: "javascript:window.evil=1"})
	r := status.Round{Whole: true, Images: []status.Image{{Name: evil, Policy: evil, Newest: evil, Why: evil, Places: []status.Place{{File: evil, Current: evil, Hold: evil}}}},
		Diagram: []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="top.evil=1"><script>top.evil=1</script></svg>`)}
	url := serve(t, b, statuspage.Options{Board: bd}).URL
	b.visit(url + "/")
	b.wait(`document.getElementById("live").textContent === "live"`)
	bd.Record(evil, now, r)
	b.wait(`document.querySelectorAll("tr[data-s]").length === 1`)
	b.run(`document.querySelector(".tree img").loading = "eager"`)
	b.wait(`document.querySelector(".tree img").complete`)
	if got := b.run(`String(window.evil) + document.scripts.length + document.querySelectorAll("img[src=x], main svg").length`); got != `"undefined10"` {
		t.Error(got)
	}
	b.clean(url)
	var picture string
	mark(t, json.Unmarshal([]byte(b.run(`document.querySelector(".tree a").href`)), &picture))
	b.visit(picture)
	if got := b.run(`String(window.evil) + window.origin`); got != `"undefinednull"` {
		t.Errorf("the picture by itself: %s", got)
	}
}

func thousand(t *testing.T, b *browser) {
	bd := board(now)
	r := fleet(1000)
	bd.Record(target, now, r)
	url := serve(t, b, statuspage.Options{Board: bd}).URL
	b.visit(url + "/")
	b.wait(`document.getElementById("live").textContent === "live"`)
	t.Logf("loaded in %s ms", b.run(`performance.timing.loadEventEnd - performance.timing.navigationStart`))
	b.run(`window.row = document.querySelectorAll("tr[data-s]")[500]`)
	t.Logf("filtered in %s ms", b.run(`(start => { const q = document.querySelector("[name=q]"); q.value = "service-0999"; q.dispatchEvent(new Event("input", { bubbles: true }));
		document.body.offsetHeight; return performance.now() - start })(performance.now())`))
	if got := b.run(rows); got != `"service-0999"` {
		t.Error(got)
	}
	r.Images = slices.Clone(r.Images)
	r.Images[999].Newest = "9.9.9"
	begin := time.Now()
	bd.Record(target, now, r)
	b.wait(`document.querySelector("tr:last-child .new")?.textContent === "9.9.9"`)
	t.Logf("a change is shown after %v", time.Since(begin))
	if got := b.run(`window.row === document.querySelectorAll("tr[data-s]")[500]`); got != "true" {
		t.Error("a row that did not change was replaced")
	}
	b.clean(url)
}

// lost: the page says that it is not live, comes back by itself, and then knows what it missed.
func lost(t *testing.T, b *browser) {
	bd := shown()
	s := serve(t, b, statuspage.Options{Board: bd})
	b.visit(s.URL + "/")
	b.wait(`document.getElementById("live").textContent === "live"`)
	b.run(`window.states = []; new MutationObserver(() => states.push(document.getElementById("live").textContent)).observe(document.getElementById("live"), { childList: true })`)
	s.CloseClientConnections()
	b.wait(`states[0] === "connection lost, trying again"`)
	bd.Record(target, now, status.Round{Err: broken()})
	b.wait(`states[1] === "live" && document.querySelector(".trouble") !== null`)
}

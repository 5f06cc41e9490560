package statuspage_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

// shown is a board with what a page has to show.
func shown() *status.Board {
	b := board(now)
	b.Record(target, now.Add(-90*time.Second), round())
	b.Mark(target, status.Idle, now.Add(4*time.Minute))
	return b
}

// answerTo is what the handler answers to a GET, with headers "Name: value".
func answerTo(h http.Handler, address string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", address, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// visible is the text of a page, each run of spaces as one.
func visible(page string) string {
	page = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(page), " ")
}

func TestPage(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: shown()})
	for language, want := range map[string][]string{
		"en": {"6 images: 2 are behind, one is held back, one cannot be checked.", "harbor.example.com/ sandbox/ rss", "Behind 2 versions → newest 1.5.0",
			"newest of 14 tags within &gt;=1.2.0 &lt;2.0.0", "apps/rss/ cronjob.yaml:31 · rss", "Held back 16.4 → newest 17.2", "held back: 17 needs a dump and a restore first",
			"401 Unauthorized", "What to do: the robot account lacks", "Up to date 1.3.1", "v3.5.0@sha256:3f57d940…", "No version fits dev",
			"4f1c2ab Update rss to 1.5.0 in rss-staging", "2.4 s after the push", "pull request 118", "apps/legacy/values.yaml:3"},
		"ja": {"イメージ 6 件のうち、更新待ちが 2 件、保留中が 1 件、確認できないものが 1 件です。", "更新待ち 2 バージョン", "プッシュから 2.4 秒", "前回の失敗"},
	} {
		w := answerTo(h, "/", "Accept-Language: "+language)
		got := strings.ReplaceAll(visible(w.Body.String()), " · ", " ")
		for _, text := range want {
			if text = strings.ReplaceAll(text, " · ", " application "); !strings.Contains(got, text) && !strings.Contains(got, strings.ReplaceAll(text, " application ", " ")) {
				t.Errorf("%s: no %q in\n%s", language, text, got)
			}
		}
		if !strings.Contains(w.Body.String(), `<html lang="`+language+`">`) || w.Header().Get("Content-Language") != language {
			t.Errorf("the page does not say that it is in %s", language)
		}
	}
}

// TestGuarded: whatever is answered, a browser runs nothing but our script, and shows it in no frame.
func TestGuarded(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: shown(), Actions: &actions{}, Token: "secret"})
	for _, address := range []string{"/", "/fragment?id=summary", "/status.json", "/diagram/k8s@main.svg", "/assets/page.js", "/nothing", "/?act=1"} {
		w := answerTo(h, address)
		policy := w.Header().Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, rule) {
				t.Errorf("%s: no %s in %q", address, rule, policy)
			}
		}
		if strings.HasPrefix(address, "/diagram") != strings.Contains(policy, "sandbox") || regexp.MustCompile(`\*|https?:|data:|script-src[^;]*unsafe|eval`).MatchString(policy) {
			t.Errorf("%s: %s", address, policy)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q", address, name, got)
			}
		}
		if body := w.Body.String(); regexp.MustCompile(`\son\w+=|\sstyle=|<script>|<style>`).MatchString(body) && !strings.HasPrefix(address, "/diagram") && !strings.HasPrefix(address, "/assets") {
			t.Errorf("%s has something inline", address)
		}
	}
}

// TestHostile: names, reasons and errors are from other people, and stay text.
func TestHostile(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202e\x1b[31m'{{.}}"
	b := status.NewBoard(now, status.Target{Name: evil, Repository: evil, Branch: evil, Page: "javascript:alert(1)"})
	b.Lead(true, evil)
	r := status.Round{Whole: true, Diagram: []byte("<svg/>"), Images: []status.Image{{Name: evil, Policy: evil, Origin: evil, Newest: evil, Why: evil, Err: evil, Hint: evil,
		Places: []status.Place{{File: evil, Application: evil, Current: "1", Hold: evil}}}}, Failures: []status.Failure{{Where: evil, Err: evil, Hint: evil}}}
	for _, address := range []string{"javascript:alert(1)", "data:text/html,x", "//evil.example", "https://user:pw@evil.example", "vbscript:x", "http:evil", "https:///evil"} {
		r.Commits = append(r.Commits, status.Commit{SHA: evil, Summary: evil, Page: address, PullRequest: address})
	}
	b.Record(evil, now, r)
	h := statuspage.New(statuspage.Options{Board: b, Actions: &actions{}, Token: "secret"})
	for _, address := range []string{"/", "/?act=1&target=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&q=%22%3E%3Cscript%3E&lang=%22%3E%3Cscript%3E"} {
		page := answerTo(h, address).Body.String()
		page = regexp.MustCompile(` (href|data-target|data-image)="[^"]*"`).ReplaceAllStringFunc(page, func(attribute string) string {
			return strings.NewReplacer("\u202e", "", "\x1b", "").Replace(attribute) // names as on the board, which nobody sees
		})
		for _, bad := range []string{"<script>", "<img src=x", "javascript:", "vbscript:", "data:", "evil.example", "ZgotmplZ", "\u202e", "\x1b"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q: %s", address, bad, regexp.MustCompile(`.{0,80}`+regexp.QuoteMeta(bad)).FindString(page))
			}
		}
	}
	if link := regexp.MustCompile(`href="https?:[^"]*"`).FindString(answerTo(h, "/").Body.String()); link != "" {
		t.Error(link)
	}
	link := regexp.MustCompile(`<img src="(diagram/[^"]*)"`).FindStringSubmatch(answerTo(h, "/").Body.String())
	if link == nil {
		t.Fatal("no diagram")
	}
	if w := answerTo(h, "/"+link[1]); w.Code != http.StatusOK || w.Body.String() != "<svg/>" {
		t.Errorf("%s: %d %s", link[1], w.Code, w.Body)
	}
}

func TestDocument(t *testing.T) {
	w := answerTo(statuspage.New(statuspage.Options{Board: shown()}), "/status.json")
	var got struct {
		Schema string
		status.Snapshot
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(w.Body.String(), "{\n  \"schema\": \"imgbump/serve/v1\",\n") || len(got.Targets) != 1 || len(got.Targets[0].Images) != 6 {
		t.Errorf("%.300s", w.Body)
	}
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		t.Error(kind)
	}
}

func TestMissing(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: shown()})
	for _, address := range []string{"/diagram/other.svg", "/diagram/k8s@main", "/assets/page.html", "/assets/../statuspage.go", "/x"} {
		if w := answerTo(h, address); w.Code == http.StatusOK {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	if page := answerTo(h, "/fragment?id=summary&id=other&id=summary").Body.String(); strings.Count(page, "data-v=") != 1 {
		t.Error(page)
	}
}

// TestFilter: without scripts the server decides which rows are shown.
func TestFilter(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: shown()})
	for query, want := range map[string]int{"": 6, "show=due": 2, "show=held": 1, "show=failing": 1, "show=else": 6, "q=RSS": 1, "q=sandbox+401": 1, "q=cronjob": 1,
		"q=nobody": 0, "q=dump&show=held": 1, "q=dump&show=due": 0} {
		page := answerTo(h, "/?"+query).Body.String()
		rows := regexp.MustCompile(`<tr role="row" id="[^>]*>`).FindAllString(page, -1)
		visible := 0
		for _, row := range rows {
			if !strings.Contains(row, " hidden") {
				visible++
			}
		}
		if len(rows) != 6 || visible != want {
			t.Errorf("%q: %d of %d rows, want %d", query, visible, len(rows), want)
		}
	}
}

// TestHeadline: the page in one sentence.
func TestHeadline(t *testing.T) {
	current := image("example.com/a/b", "1.0.0", status.Place{File: "a.yaml", Line: 1, Current: "1.0.0"})
	waits := image("example.com/a/c", "", status.Place{File: "a.yaml", Line: 2, Current: "1.0.0", Hold: "why"})
	for _, tt := range []struct {
		rounds   []status.Round
		standby  bool
		en, ja   string
		nothings int
	}{
		{nil, false, "Looking at the images for the first time…", "最初の確認を行っています…", 0},
		{[]status.Round{{Err: broken()}}, false, "The manifests could not be read.", "マニフェストを読み込めませんでした。", 0},
		{[]status.Round{{Whole: true}}, false, "No policy governs an image here.", "ポリシーの対象となるイメージがありません。", 0},
		{[]status.Round{{Whole: true, Images: []status.Image{current}}}, false, "The only image is up to date.", "1 件のイメージはすべて最新です。", 0},
		{[]status.Round{{Whole: true, Images: []status.Image{current, waits}}}, false, "2 images: one is held back.", "イメージ 2 件のうち、保留中が 1 件です。", 0},
		{[]status.Round{{Whole: true, Images: []status.Image{current}}, {Err: broken()}}, false, "The only image was up to date at the last look.", "前回の確認では、1 件のイメージはすべて最新でした。", 0},
		{nil, true, "This replica stands by.", "このレプリカは待機中です。", 0},
	} {
		b := board(now)
		for _, r := range tt.rounds {
			b.Record(target, now, r)
		}
		b.Lead(!tt.standby, "imgbump-0")
		h := statuspage.New(statuspage.Options{Board: b})
		for language, want := range map[string]string{"en": tt.en, "ja": tt.ja} {
			page := answerTo(h, "/?lang="+language).Body.String()
			if got := visible(regexp.MustCompile(`<h1>.*</h1>`).FindString(page)); got != want {
				t.Errorf("%s: %s, want %s", language, got, want)
			}
			if strings.Contains(page, ">"+map[string]string{"en": "No version fits", "ja": "該当バージョンなし"}[language]+"<") {
				t.Errorf("%s: an image that is held back everywhere has no version to fit", want)
			}
		}
	}
}

func TestNoTargets(t *testing.T) {
	page := answerTo(statuspage.New(statuspage.Options{Board: status.NewBoard(now)}), "/").Body.String()
	if !strings.Contains(page, "<h1>There is nothing to keep up to date.</h1>") {
		t.Error(page)
	}
}

func TestLanguage(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: board(now)})
	for _, tt := range []struct{ address, accept, want string }{
		{"/", "", "en"}, {"/", "ja", "ja"}, {"/", "ja-JP,en;q=0.5", "ja"}, {"/", "en-GB, ja;q=0.9", "en"}, {"/", "fr, ja;q=0.8, en;q=0.3", "ja"},
		{"/", "fr", "en"}, {"/", "ja;q=0", "en"}, {"/", "ja;q=x, en;q=0.2;,;;", "ja"}, {"/?lang=ja", "en", "ja"}, {"/?lang=en", "ja", "en"}, {"/?lang=fr", "ja", "ja"},
	} {
		if got := answerTo(h, tt.address, "Accept-Language: "+tt.accept).Header().Get("Content-Language"); got != tt.want {
			t.Errorf("%s, %q: %s, want %s", tt.address, tt.accept, got, tt.want)
		}
	}
}

// TestSize: the page of 1,000 images in 3,000 places is compressed, and a change of one makes only its region anew.
func TestSize(t *testing.T) {
	b := board(now)
	b.Record(target, now, fleet(1000))
	h := statuspage.New(statuspage.Options{Board: b, Actions: &actions{}, Token: "secret"})
	w := answerTo(h, "/", "Accept-Encoding: gzip")
	plain := answerTo(h, "/")
	t.Logf("%d bytes, %d compressed", plain.Body.Len(), w.Body.Len())
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > 200<<10 || plain.Body.Len() > 2<<20 {
		t.Errorf("%d bytes, %d compressed", plain.Body.Len(), w.Body.Len())
	}
}

func BenchmarkPage(b *testing.B) {
	bd := board(now)
	bd.Record(target, now, fleet(1000))
	h := statuspage.New(statuspage.Options{Board: bd})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			answerTo(h, "/", "Accept-Encoding: gzip")
		}
	})
	b.Run("changed", func(b *testing.B) {
		r := fleet(1000)
		for n := 0; b.Loop(); n++ {
			r.Images[0].Newest = string(rune('a' + n%26))
			bd.Record(target, now, r)
			answerTo(h, "/", "Accept-Encoding: gzip")
		}
	})
}

// TestAssets: browsers may keep them as long as they are those of the page.
func TestAssets(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: board(now)})
	page := answerTo(h, "/").Body.String()
	links := regexp.MustCompile(`"(assets/([^"?]*)\?v=[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3 {
		t.Fatal(links)
	}
	kinds := map[string]string{"page.js": "javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
	for _, link := range links {
		w := answerTo(h, "/"+link[1])
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.Contains(w.Header().Get("Content-Type"), kinds[link[2]]) {
			t.Errorf("%s: %d %v", link[1], w.Code, w.Header())
		}
		if w := answerTo(h, "/assets/"+link[2]+"?v=older"); w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: of another version, and kept", link[2])
		}
	}
}

// TestPrefix: behind a gateway that strips a prefix no address may begin at the root.
func TestPrefix(t *testing.T) {
	page := answerTo(statuspage.New(statuspage.Options{Board: shown(), Actions: &actions{}, Token: "secret"}), "/?act=1&lang=ja").Body.String()
	if found := regexp.MustCompile(`(href|src|action|formaction)="/[^"]*"`).FindString(page); found != "" {
		t.Error(found)
	}
	script, err := io.ReadAll(answerTo(statuspage.New(statuspage.Options{Board: shown()}), "/assets/page.js").Body)
	mark(t, err)
	if bytes.Contains(script, []byte(`"/`)) {
		t.Error("page.js names an address at the root")
	}
}

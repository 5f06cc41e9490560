package statuspage_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

func TestLook(t *testing.T) {
	dir := os.Getenv("LOOK")
	if dir == "" {
		t.Skip()
	}
	b := open(t)
	empty := board(now)
	full := board(now)
	full.Record(target, now.Add(-90*time.Second), round())
	full.Mark(target, status.Idle, now.Add(4*time.Minute))
	full.Lead(true, "imgbump-7d9c-x2x")
	bad := board(now)
	bad.Record(target, now.Add(-90*time.Second), round())
	bad.Record(target, now.Add(-20*time.Second), status.Round{Err: broken()})
	bad.Mark(target, status.Running, now)
	many := board(now)
	many.Record(target, now.Add(-90*time.Second), fleet(1000))
	for name, bd := range map[string]*status.Board{"empty": empty, "full": full, "bad": bad, "many": many} {
		for _, acts := range []bool{false, true} {
			if acts != (name == "bad") {
				continue
			}
			o := statuspage.Options{Board: bd}
			if acts {
				o.Actions, o.Token = &actions{}, "secret"
			}
			s := httptest.NewServer(statuspage.New(o))
			for _, scheme := range []string{"light", "dark"} {
				for _, lang := range []string{"en", "ja"} {
					for _, width := range []int{390, 1280} {
						if (lang == "ja") != (scheme == "dark") && name != "full" {
							continue
						}
						b.window(width, map[int]int{390: 1400, 1280: 900}[width], scheme)
						b.visit(s.URL + "/?lang=" + lang)
						b.wait(`document.getElementById("live").textContent !== ""`)
						if os.Getenv("AXE") != "" {
							axe(t, b, name+" "+scheme+" "+lang)
						}
						os.WriteFile(filepath.Join(dir, name+"-"+scheme+"-"+lang+"-"+map[int]string{390: "phone", 1280: "desk"}[width]+".png"), b.picture(), 0o644)
					}
				}
			}
			if acts {
				for _, width := range []int{390, 1280} {
					b.window(width, 800, "light")
					b.visit(s.URL + "/?lang=en")
					b.run(`document.getElementById("unlock").click()`)
					os.WriteFile(filepath.Join(dir, name+"-unlock.png"), b.picture(), 0o644)
					b.write("secret")
					b.key("Enter", 0)
					b.wait(`document.documentElement.classList.contains("unlocked")`)
					axe(t, b, "unlocked")
					os.WriteFile(filepath.Join(dir, "unlocked-"+map[int]string{390: "phone", 1280: "desk"}[width]+".png"), b.picture(), 0o644)
					b.run(`document.querySelectorAll("tr a.act")[0].click()`)
					axe(t, b, "act")
					os.WriteFile(filepath.Join(dir, "act-"+map[int]string{390: "phone", 1280: "desk"}[width]+".png"), b.picture(), 0o644)
					b.run("sessionStorage.clear()")
				}
			}
			b.clean(s.URL)
			b.visit("about:blank")
			b.asked = nil
			s.Close()
		}
	}
}

func axe(t *testing.T, b *browser, what string) {
	lib, err := os.ReadFile(filepath.Join(os.Getenv("LOOK"), "axe/node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	b.run("document.querySelectorAll('details').forEach(d => d.open = document.querySelectorAll('tr').length < 50)")
	b.run(string(lib) + ";0")
	t.Log(what, b.run(`axe.run().then(r => JSON.stringify(r.violations.map(v => [v.id, v.help, v.nodes.length, v.nodes.slice(0,3).map(n => n.html.slice(0,160)+" "+(n.any[0]?.message||""))]).concat(r.incomplete.map(v => ["?", v.id, v.nodes.length, v.nodes[0].html.slice(0,120)]))))`))
	b.run("document.querySelectorAll('details').forEach(d => d.open = false)")
}

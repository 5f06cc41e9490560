package statuspage

import (
	"mime"
	"net/http"
	"path"
)

// assetsVersion changes with the embedded files: a page that is older than its server loads itself anew.
var assetsVersion = func() string {
	var all string
	entries, _ := files.ReadDir("assets")
	for _, e := range entries {
		text, _ := files.ReadFile("assets/" + e.Name())
		all += string(text)
	}
	return digest(all)
}()

// asset answers with an embedded file, which browsers keep as long as its address names this version.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	body, err := files.ReadFile("assets/" + name)
	if err != nil || path.Ext(name) == ".html" {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == assetsVersion {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	send(w, r, http.StatusOK, mime.TypeByExtension(path.Ext(name)), body)
}

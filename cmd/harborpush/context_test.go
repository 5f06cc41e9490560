package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveFolder, as web DIR [tls], serves a folder, and sets WEB to its address. With tls the certificate authority is in web.pem.
// /private answers only who asks with token=S3cretOfTheUrl.
func serveFolder(ts *testscript.TestScript, neg bool, args []string) {
	files := http.FileServer(http.Dir(ts.MkAbs(args[0])))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/private" && r.URL.Query().Get("token") == "" {
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(w, r)
	})
	var s *httptest.Server
	if slices.Contains(args, "tls") {
		s = httptest.NewTLSServer(handler)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		ts.Check(os.WriteFile(ts.MkAbs("web.pem"), ca, 0o644))
	} else {
		s = httptest.NewServer(handler)
	}
	ts.Defer(s.Close)
	ts.Setenv("WEB", s.URL)
}

package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/config"
)

func TestParseRegistries(t *testing.T) {
	all, problems, notices := config.ParseRegistries([]byte(`registries:
- name: Docker Hub
  prefix: docker.io
  api_url: https://registry-1.docker.io
  ping: yes
  credentials: pullsecret:argocd/hub
  credsexpire: 10h
  defaultns: library
  limit: 10
- name: Harbor
  api_url: https://harbor.example.com:8443
  credentials: env:HARBOR
  insecure: true
- {name: Mirror, prefix: mirror.example.com, api_url: 'http://10.0.0.1:5000', ca_file: /ca.pem, credentials: ext:/scripts/login.sh, tagsortmode: latest-first}
- {name: Folder, prefix: mirror.example.com/team, api_url: 'http://10.0.0.1:5000'}
- {name: Others, api_url: https://quay.io, default: true, credentials: 'secret:a/b#c', ca_data: PEM}
`))
	want := []config.Registry{
		{Host: "docker.io", Credentials: "pullsecret:argocd/hub", Limit: 10, Namespace: "library", Line: 2},
		{Host: "harbor.example.com:8443", Address: "harbor.example.com:8443", Credentials: "env:HARBOR", Unchecked: true, Line: 10},
		{Host: "mirror.example.com", Address: "10.0.0.1:5000", Plain: true, Credentials: "ext:/scripts/login.sh", CAFile: "/ca.pem", Line: 14},
		{Host: "quay.io", Credentials: "secret:a/b#c", CA: []byte("PEM"), Address: "quay.io", Line: 16},
	}
	for i := range all {
		if len(all[i].CA) == 0 {
			all[i].CA = nil
		}
	}
	if diff := cmp.Diff(want, all); diff != "" || len(problems) > 0 {
		t.Error(problems, diff)
	}
	if got := fmt.Sprint(notices); len(notices) != 4 || notices[0].Line != 7 || notices[2].Line != 15 || !strings.HasPrefix(notices[2].Text, "registries[3] is left out") {
		t.Error(got)
	}
	for in, want := range map[string]string{
		"registries: [{name: a}]":                                                       "registries[0].api_url is missing",
		"registries: [{api_url: 'https://user:secret@a.b'}]":                            "registries[0].api_url is not the address of a registry",
		"registries: [{api_url: 'https://a.b', credentials: 'user:secret'}]":            "registries[0].credentials is none of the forms",
		"registries: [{api_url: 'https://a.b', limit: -1}]":                             "registries[0].limit: -1 requests a second",
		"registries: [{api_url: 'https://a.b', prefix: 'A b/team'}]":                    `registries[0].prefix: "A b/team" is no host`,
		"registries: [{api_url: 'https://a.b'}, {api_url: 'https://c.d', prefix: a.b}]": "registries[1]: line 1 is for the same registry",
		"registries: [{api_url: 'https://a.b'}, {api_url: 'https://c.d', prefix: A.b}]": "registries[1]: line 1 is for the same registry",
		"registries: [{api_url: 'https://a.b', ratelimit: 1}]":                          "unknown key registries[0].ratelimit",
		"registry: []": "unknown key registry",
	} {
		if _, problems, _ := config.ParseRegistries([]byte(in)); len(problems) != 1 || problems[0].Text != want {
			t.Errorf("%s: %+v", in, problems)
		}
	}
}

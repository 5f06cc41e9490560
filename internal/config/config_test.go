package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// whole has every key there is.
const whole = `# yaml-language-server: $schema=imgbump.schema.json
version: 1
images:
  - name: harbor.example.com/team/app
    hold: "wait for the migration"
    paths: [apps/prod, '*.values.yaml']
  - name: nginx
    policy: {strategy: semver, constraint: ">=1 <2", allow-tags: ['1.*'], ignore-tags: ['*-rc*'], platforms: [linux/amd64], min-age: 3d}
  - {name: team/db, hold: everywhere}
fields:
  - {kind: Foo, field: spec.runner.image}
  - {file: "*/values.yaml", field: image.tag, image: harbor.example.com/team/app}
exclude: {paths: [legacy, '*.bak.yaml'], kinds: [CustomResourceDefinition]}
targets: [{name: prod, repo: 'https://git.example.com/x', branch: main, paths: [apps], pr: true}]
registries: [{prefix: harbor.example.com, credentials: docker, limit: 10, ca-file: ca.pem}]
`

func TestParse(t *testing.T) {
	c, problems, unused := config.Parse([]byte(whole))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := manifest.Rules{
		Fields: []manifest.FieldRule{
			{Kind: "Foo", Path: "spec.runner.image"},
			{File: "*/values.yaml", Path: "image.tag", Image: "harbor.example.com/team/app"},
		},
		ExcludeKinds: []string{"CustomResourceDefinition"},
	}
	if diff := cmp.Diff(want, c.Rules); diff != "" {
		t.Errorf("rules: %s", diff)
	}
	if diff := cmp.Diff([]config.Problem{
		{Line: 8, Text: "images[1].policy: platform means nothing to strategy semver"},
	}, unused); diff != "" {
		t.Errorf("unused: %s", diff)
	}
	prod := config.Target{Name: "prod", Repo: "https://git.example.com/x", Branch: "main", Paths: []string{"apps"}, PR: true, Line: 14}
	if diff := cmp.Diff([]config.Target{prod}, c.Targets); diff != "" {
		t.Errorf("targets: %s", diff)
	}
	for p, want := range map[string]bool{
		"legacy/a.yaml": true, "x/legacy/a.yaml": true, "legacy.yaml": false, "a/b.bak.yaml": true, "apps/a.yaml": false,
	} {
		if got := c.Excludes(p); got != want {
			t.Errorf("Excludes(%s) = %v", p, got)
		}
	}
}

func TestHeld(t *testing.T) {
	c, _, _ := config.Parse([]byte(whole))
	for _, tt := range []struct{ file, ref, replaces, want string }{
		{"apps/prod/a.yaml", "harbor.example.com/team/app:1", "", "wait for the migration (imgbump.yaml:5)"},
		{"apps/staging/a.yaml", "harbor.example.com/team/app:1", "", ""},
		{"apps/staging/x.values.yaml", "harbor.example.com/team/app:1", "", "wait for the migration (imgbump.yaml:5)"},
		{"apps/prod/a.yaml", "harbor.example.com/team/app-worker:1", "", ""},
		{"apps/prod/kustomization.yaml", "mirror/app:1", "harbor.example.com/team/app", "wait for the migration (imgbump.yaml:5)"},
		{"a.yaml", "docker.io/team/db", "", "everywhere (imgbump.yaml:9)"},
		{"a.yaml", "nginx:1", "", ""},
	} {
		ref, err := imageref.Parse(tt.ref)
		if err != nil {
			t.Fatal(err)
		}
		site := manifest.Site{File: tt.file, Ref: ref, Replaces: ref.Bare()}
		if tt.replaces != "" {
			site.Replaces, _ = imageref.Parse(tt.replaces)
		}
		if got := c.Held(site); got != tt.want {
			t.Errorf("%s in %s: %q, want %q", tt.ref, tt.file, got, tt.want)
		}
	}
}

func TestNothingConfigured(t *testing.T) {
	for _, data := range []string{"", "# later\n", "---\n", "version: 1\nimages:\nexclude:\n"} {
		c, problems, unused := config.Parse([]byte(data))
		if len(problems)+len(unused) > 0 || c.Excludes("a") || c.Held(manifest.Site{}) != "" || config.Err(problems) != nil {
			t.Errorf("%q: %+v, %v, %v", data, c, problems, unused)
		}
	}
}

func TestProblems(t *testing.T) {
	const known = "known here: name, paths, policy, hold"
	const trusted = "write docker, or pullsecret:NAMESPACE/NAME; others stand in a file that whoever runs imgbump names with --registries-conf"
	const rule = "for example: {file: '*/values.yaml', field: image.tag, image: team/app}"
	for data, want := range map[string][]string{
		"version: 1\nimagse: []":                                   {"2: unknown key imagse (did you mean images? known here: version, images, fields, exclude, targets, registries)"},
		"version: 1\nzzz: 1":                                       {"2: unknown key zzz (known here: version, images, fields, exclude, targets, registries)"},
		"version: 1\nimages:\n- name: a\n  Hold: x\n  0: 1":        {"4: unknown key images[0].Hold (did you mean hold? " + known + ")", "5: unknown key images[0].0 (" + known + ")"},
		"version: 1\nimages: {name: a}":                            {"2: images is a mapping, but a list is wanted ()"},
		"version: 1\nimages: [a, {hold: x}]":                       {"2: images[0] is text, but a mapping is wanted ()", "2: images[1].name is missing ()"},
		"version: 1\nimages:\n- name: 12\n  hold: true":            {"3: images[0].name is a number, but text is wanted (put it in quotes: '12')", "4: images[0].hold is true or false, but text is wanted (put it in quotes: 'true')"},
		"version: 1\nimages:\n- name: a\n  hold:":                  {"4: images[0].hold is empty, but text is wanted ()"},
		"version: 1\nimages:\n- name: a\n  hold: ' '":              {"4: images[0].hold is empty, but text is wanted ()"},
		"version: 1\nimages:\n- name: a:1":                         {"3: images[0].name is a repository, without tag or digest (write a)"},
		"version: 1\nimages:\n- name: a//b":                        {`3: images[0].name: reference "a//b": the repository has an empty component (for example: harbor.example.com/team/app)`},
		"version: 1\nimages:\n- name: a\n  paths: b":               {"4: images[0].paths is text, but a list is wanted (put it in brackets: [b])"},
		"version: 1\nimages:\n- name: a\n  paths: ['[b', ../c]":    {"4: images[0].paths[0] has a bracket that is not closed, or ends in a backslash (patterns are those of .gitignore, for example: apps/legacy)", "4: images[0].paths[1] is not relative to the root; write it without //, ./ and ../ (patterns are those of .gitignore, for example: apps/legacy)"},
		"version: 1\nfields:\n- field: a":                          {"3: fields[0]: neither a kind nor a file is named (" + rule + ")"},
		"version: 1\nfields:\n- {file: a, image: b}":               {"3: fields[0].field is missing ()"},
		"version: 1\nfields: [a, {file: '[', field: a}]":           {"2: fields[0] is text, but a mapping is wanted ()", `2: fields[1]: file "[": syntax error in pattern (` + rule + ")"},
		"version: 1\nfields: [{file: a, field: a, image: 'b:1'}]":  {`2: fields[0]: image "b:1": is a repository, without tag or digest (` + rule + ")"},
		"version: 1\nexclude: {paths: [1.5], kinds: [2024-01-01]}": {"2: exclude.paths[0] is a number, but text is wanted (put it in quotes: '1.5')", "2: exclude.kinds[0] is a date, but text is wanted (put it in quotes: '2024-01-01')"},
		"version: 1\ntargets: [{pr: maybe, paths: ['']}]":          {"2: targets[0].pr is text, but true or false is wanted ()", "2: targets[0].paths[0] is empty, but text is wanted ()", "2: targets[0].name is missing ()"},
		"version: 1\ntargets:\n- {name: a, paths: [../x]}\n- name: a\n  repo: https://me:secret@git.example.com/x": {
			"3: targets[0].paths[0]: ../x leads elsewhere (name a file or folder below the top, for example: apps/production)",
			"4: targets[1].name: line 3 has it, too (give each target a name of its own)",
			"5: targets[1].repo holds a password (leave it out: credentials come from flags and the environment)",
		},
		"version: 1\ntargets:\n- {name: a, paths: [apps/*]}\n- {name: b, paths: ['!apps', 'a?', '[a]']}": {
			"3: targets[0].paths[0]: apps/* is a pattern, and here are only files and folders (name a file or folder below the top, for example: apps/production)",
			"4: targets[1].paths[0]: !apps is a pattern, and here are only files and folders (name a file or folder below the top, for example: apps/production)",
			"4: targets[1].paths[1]: a? is a pattern, and here are only files and folders (name a file or folder below the top, for example: apps/production)",
			"4: targets[1].paths[2]: [a] is a pattern, and here are only files and folders (name a file or folder below the top, for example: apps/production)",
		},
		"version: 1\nregistries: [{limit: 1}, {limit: 2}]":     {"2: registries[0].prefix is missing ()", "2: registries[1].prefix is missing ()"},
		"version: 1\nregistries: [{prefix: a.b, limit: many}]": {"2: registries[0].limit is text, but a whole number is wanted ()"},
		"version: 1\nregistries:\n- {prefix: https://x, credentials: 'env:TOKEN', limit: 0}\n- {prefix: a.b, credentials: 'ext:/bin/x', ca-file: ../ca}\n- {prefix: a.b, credentials: 'pullsecret:x'}": {
			`3: registries[0].prefix: "https://x" is no host (for example: harbor.example.com)`,
			`3: registries[0].credentials: "env:TOKEN" is not for a repository to choose (` + trusted + ")",
			"3: registries[0].limit: 0 requests a second (for example: 20)",
			`4: registries[1].credentials: "ext:/bin/x" is not for a repository to choose (` + trusted + ")",
			"4: registries[1].ca-file: ../ca leads elsewhere (name a file of the repository, relative to imgbump.yaml)",
			"5: registries[2].prefix: line 4 has it, too (keep one of them)",
			`5: registries[2].credentials: "pullsecret:x" is not for a repository to choose (` + trusted + ")",
		},
		"version: 1\nimages:\n- name: a\n  policy:\n    strategy: best":                {`5: images[0].policy: there is no strategy "best" (strategies: semver, flux-semver, suffix, calver, newest-build, digest, alphabetical, numerical)`},
		"version: 1\nimages:\n- name: a\n  policy:\n    min-age: soon":                 {`5: images[0].policy: "soon" is no time span ()`},
		"version: 1\nimages:\n- name: a\n  policy: {constraint: x.y.z.}":               {`4: images[0].policy: constraint "x.y.z.": improper constraint: "x.y.z." (for example: ^1.2, ~1.2.3, >=1.2 <2, 1.x || 3.x; with pre-releases: ^1.2-0)`},
		"version: 1\nimages:\n- name: a\n  policy: {order: up}":                        {`4: images[0].policy: order "up": it is asc or desc (write order: desc, or leave it away)`},
		"version: 1\nimages:\n- name: a\n  policy: {extract: $1, allow-tags: [a, b*]}": nil,
		"version: 1\nimages: &x []\nfields: *x":                                        {"3: fields is an alias, but a list is wanted (write the value out; anchors and aliases are not followed here)"},
		"version: 1\nversion: 1":                                                       {"2: version is there twice, first in line 1 (keep one of them)"},
		"images: []":                                                                   {"1: version is missing (write version: 1 at its start)"},
		"version: 2":                                                                   {"1: version is 2, but this imgbump knows version 1 (write version: 1, or use a newer imgbump)"},
		"version: '1'":                                                                 {"1: version is text, but a whole number is wanted ()"},
		"- a":                                                                          {"1: the file is a list, but a mapping is wanted ()"},
		"version: 1\n---\nversion: 1":                                                  {"2: there is more than one document (keep one)"},
		"version: 1\nimages: [":                                                        {"2: not valid YAML: did not find expected node content ()"},
	} {
		_, problems, _ := config.Parse([]byte(data))
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%d: %s (%s)", p.Line, p.Text, p.Hint))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", data, diff)
		}
	}
}

func TestErr(t *testing.T) {
	_, problems, _ := config.Parse([]byte("version: 1\nimagse: []\nfoo: 1\n"))
	err := config.Err(problems)
	if fault.KindOf(err) != fault.Usage || err.Error() != "imgbump.yaml:2: unknown key imagse" || !strings.HasSuffix(fault.HintOf(err), "'imgbump config check' shows all 2 problems") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	if got := config.Err([]config.Problem{{Text: "not valid YAML"}}).Error(); got != "imgbump.yaml: not valid YAML" {
		t.Error(got)
	}
}

// FuzzParse: whatever the bytes are, no panic and no hang, and what has no problem can be used.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("version: 1\nimages: &a [*a]\n<<: *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems, _ := config.Parse(data)
		if config.Err(problems) == nil {
			c.Excludes("apps/a.yaml")
			c.Held(manifest.Site{File: "apps/a.yaml"})
		}
	})
}

// A target's repository is on a server: the file comes from a repository, which is not to say what runs on this machine.
func TestTargetsAreOnServers(t *testing.T) {
	for repo, ok := range map[string]bool{
		"https://github.com/team/gitops": true, "http://localhost:3000/team/gitops.git": true, "ssh://git@git.example.com:2222/team/gitops": true,
		"git@github.com:team/gitops.git": true, "git.example.com:/srv/gitops": true, "git@[::1]:gitops": true, "git+ssh://git.example.com/x": true,
		"../gitops": false, "/srv/gitops": false, "gitops": false, "./a:b": false, ".": false, "file:///srv/gitops": false, "FILE:///srv": false,
		"ext::sh -c true": false, "https:///srv": false, "https://": false, "git://git.example.com/x": false, ":x": false,
	} {
		_, problems, _ := config.Parse([]byte("version: 1\ntargets:\n- name: a\n  repo: '" + repo + "'"))
		if (len(problems) == 0) != ok || !ok && problems[0].Line != 4 {
			t.Errorf("%s: %v", repo, problems)
		}
	}
}

func TestChoose(t *testing.T) {
	c, _, _ := config.Parse([]byte("version: 1\ntargets: [{name: dev}, {name: stage}, {name: prod}]"))
	chosen, err := c.Choose([]string{"prod", "dev"})
	if err != nil || len(chosen) != 2 || chosen[0].Name != "dev" || chosen[1].Name != "prod" {
		t.Errorf("%+v, %v", chosen, err)
	}
	if _, err := (config.Config{}).All(); fault.KindOf(err) != fault.Usage {
		t.Errorf("no targets: %v", err)
	}
	for name, c := range map[string]config.Config{"its targets are dev, stage, prod": c, "for example: targets: [{name: x, branch: main}]": {}} {
		if _, err := c.Choose([]string{"x"}); fault.KindOf(err) != fault.Usage || fault.HintOf(err) != name {
			t.Errorf("%v (%s), want %s", err, fault.HintOf(err), name)
		}
	}
}

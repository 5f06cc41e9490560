package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// peerCase is an input and a wanted output of another tool's tests.
type peerCase struct {
	Name  string
	Op    string
	Kind  string
	Args  []string
	Input json.RawMessage
	Want  json.RawMessage
	Value string // yaml_scalar_quoting_aiu
	Plain bool   `json:"plain_ok"`

	Change       json.RawMessage
	WantContains json.RawMessage            `json:"want_contains"`
	WantError    json.RawMessage            `json:"want_error"`
	WantFiles    map[string]json.RawMessage `json:"want_changed_files"`
	WantValues   map[string]string          `json:"want_values"`
	Images       []struct{ Identifier, HelmImageName, HelmImageTag, HelmImageSpec string }
	Helm         []struct{ Name, Value string } `json:"desired_helm_parameters"`
	Kustomize    []string                       `json:"desired_kustomize_images"`
}

// TestPeers runs what other tools expect of the same edits, where IMGBUMP_CASES names the folder of their cases, and
// counts: values are compared, since they write files anew. A case that is about something else is not counted.
func TestPeers(t *testing.T) {
	folder := os.Getenv("IMGBUMP_CASES")
	if folder == "" {
		t.Skip("not run: IMGBUMP_CASES does not name the folder of the cases")
	}
	for file, run := range map[string]func(peerCase) (got, want any, err error){
		"kustomize_set_image_upstream": peerSetImage, "kustomize_imagetag_filter_upstream": peerTransformer,
		"kustomize_writeback_aiu": peerWriteback, "helmvalues_paths_aiu": peerHelmPath, "writeback_params_aiu": peerParams,
		"flux_setters": peerFlux, "format_preservation_derived": peerFormat, "yaml_scalar_quoting_aiu": peerQuoting,
	} {
		data, err := os.ReadFile(filepath.Join(folder, file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var all struct{ Cases []peerCase }
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		agree, differ, other := 0, 0, 0
		for _, c := range all.Cases {
			got, want, err := run(c)
			switch {
			case err == errOther:
				other++
			case err == nil && reflect.DeepEqual(got, want):
				agree++
			default:
				differ++
				t.Logf("%s: %s %s: got %q, %v, want %q", file, c.Op, c.Name+c.Value, got, err, want)
			}
		}
		t.Logf("%s: %d agree, %d do not, %d are about something else", file, agree, differ, other)
	}
}

// errOther says that a case is about something that this package does not do.
var errOther = fmt.Errorf("about something else")

// fakeDigest is a digest that is none, as tests of other tools have them.
var fakeDigest = regexp.MustCompile(`(@|digest: |"Digest": ?"|"digest": ?")(?:sha256:?)?([0-9a-z]+)\b`)

func realDigests(s string) string {
	return fakeDigest.ReplaceAllStringFunc(s, func(m string) string {
		g := fakeDigest.FindStringSubmatch(m)
		if len(g[2]) == 64 {
			return m
		}
		return g[1] + fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(g[2])))
	})
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return realDigests(s)
}

// one is the only file of a case.
func one(raw json.RawMessage) (name, content string) {
	var files map[string]string
	if json.Unmarshal(raw, &files) != nil {
		return "a.yaml", text(raw)
	}
	for name, content = range files {
	}
	return name, realDigests(content)
}

func decoded(content string) (v any) {
	if err := yaml.Unmarshal([]byte(content), &v); err != nil {
		return err.Error()
	}
	return v
}

// rewrite lets every site that choose picks name its reference.
func rewrite(path, content string, rules manifest.Rules, choose func(manifest.Site) (ref imageref.Ref, rename, ok bool)) (string, int, error) {
	found, err := manifest.Find(path, []byte(content), rules)
	if err != nil {
		return "", 0, err
	}
	var edits []manifest.Edit
	n := 0
	for _, site := range found {
		if ref, rename, ok := choose(site); ok {
			more, err := site.Set(ref, rename)
			if err != nil {
				return "", 0, err
			}
			edits, n = append(edits, more...), n+1
		}
	}
	out, err := manifest.Apply([]byte(content), edits)
	return string(out), n, err
}

// setImage does what `kustomize edit set image` does with an argument.
func setImage(content, arg string) (string, error) {
	name, image, rename := strings.Cut(arg, "=")
	if !rename {
		image = name
	}
	ref, err := imageref.Parse(image)
	if err != nil {
		return "", err
	}
	old := ref.Bare()
	if rename {
		if old, err = imageref.Parse(name); err != nil {
			return "", err
		}
	}
	choose := func(s manifest.Site) (imageref.Ref, bool, bool) { return ref, rename, s.Replaces.Same(old) }
	out, n, err := rewrite("kustomization.yaml", content, manifest.Rules{}, choose)
	if err != nil || n > 0 {
		return out, err
	}
	edits, err := manifest.AddImage("kustomization.yaml", []byte(content), old.With(ref))
	if err != nil {
		return "", err
	}
	added, err := manifest.Apply([]byte(content), edits)
	if err != nil || !rename {
		return string(added), err
	}
	out, _, err = rewrite("kustomization.yaml", string(added), manifest.Rules{}, choose)
	return out, err
}

func peerSetImage(c peerCase) (got, want any, err error) {
	if string(c.WantError) == "true" {
		return nil, nil, errOther
	}
	_, content := one(c.Input)
	if content == "" {
		content = "resources:\n- a.yaml\n"
	}
	for _, arg := range c.Args {
		if content, err = setImage(content, realDigests(arg)); err != nil {
			return nil, nil, err
		}
	}
	images := func(v any) any { m, _ := v.(map[string]any); return m["images"] }
	return images(decoded(content)), images(decoded(text(c.WantContains))), nil
}

func peerTransformer(c peerCase) (got, want any, err error) {
	var change struct{ Name, NewName, NewTag, Digest, TagSuffix string }
	if err := json.Unmarshal([]byte(realDigests(string(c.Change))), &change); err != nil || change.TagSuffix != "" {
		return nil, nil, errOther
	}
	name, err := imageref.Parse(change.Name)
	if err != nil {
		return nil, nil, errOther
	}
	ref, rename := name, change.NewName != ""
	if rename {
		if ref, err = imageref.Parse(change.NewName); err != nil {
			return nil, nil, err
		}
	}
	ref.Tag, ref.Digest = change.NewTag, change.Digest
	out, _, err := rewrite("a.yaml", text(c.Input), manifest.Rules{}, func(s manifest.Site) (imageref.Ref, bool, bool) {
		return ref, rename, s.Ref.Same(name)
	})
	return decoded(out), decoded(text(c.Want)), err
}

func peerWriteback(c peerCase) (got, want any, err error) {
	switch c.Op {
	case "set kustomize image":
		var change struct {
			Override string `json:"kustomize_override"`
		}
		_ = json.Unmarshal(c.Change, &change)
		_, content := one(c.Input)
		out, err := setImage(content, realDigests(change.Override))
		if _, wanted := one(c.Want); wanted != "" {
			return out, wanted, err
		}
		return nil, nil, errOther
	case "parse kustomize image override":
		change := text(c.Change)
		found, err := manifest.Find(".argocd-source.yaml", []byte("kustomize: {images: ['"+change+"']}"), manifest.Rules{})
		if err != nil || len(found) != 1 {
			return len(found), 1, err
		}
		var wanted struct{ Name, NewName, NewTag, Digest string }
		_ = json.Unmarshal(c.Want, &wanted)
		if wanted.NewName == "" {
			wanted.NewName = wanted.Name
		}
		s := found[0]
		return []string{s.Replaces.Name(), s.Ref.Name(), s.Ref.Tag, s.Ref.Digest}, []string{wanted.Name, wanted.NewName, wanted.NewTag, wanted.Digest}, nil
	case "apply overrides in order to empty kustomization":
		var changes []string
		_ = json.Unmarshal(c.Change, &changes)
		_, content := one(c.Input)
		for _, change := range changes {
			if content, err = setImage(content, realDigests(change)); err != nil {
				return nil, nil, err
			}
		}
		_, wanted := one(c.Want)
		return decoded(content), decoded(wanted), nil
	}
	return nil, nil, errOther
}

func peerHelmPath(c peerCase) (got, want any, err error) {
	var change struct{ Path, Value string }
	_ = json.Unmarshal(c.Change, &change)
	_, content := one(c.Input)
	rules := manifest.Rules{Fields: []manifest.FieldRule{{File: "values.yaml", Path: change.Path, Image: "app"}}}
	if c.Op == "read helm value by path" {
		found, err := manifest.Find("values.yaml", []byte(content), rules)
		if string(c.WantError) == "true" {
			return len(found), 0, err
		}
		var tags []string
		for _, s := range found {
			if s.Ref.Repository == "app" {
				tags = append(tags, s.Ref.Tag)
			}
		}
		return tags, []string{text(c.Want)}, err
	}
	out, n, err := rewrite("values.yaml", content, rules, func(s manifest.Site) (imageref.Ref, bool, bool) {
		return imageref.Ref{Tag: change.Value}, false, s.Ref.Repository == "app"
	})
	if c.WantError != nil {
		return n, 0, nil
	}
	_, wanted := one(c.Want)
	return decoded(out), decoded(wanted), err
}

func peerParams(c peerCase) (got, want any, err error) {
	content := text(c.Input)
	wanted := text(c.Want)
	if strings.TrimSpace(content) == "" || wanted == "" && c.WantValues == nil || c.WantError != nil {
		return nil, nil, errOther
	}
	switch c.Kind {
	case "argocd-source-kustomize":
		for _, image := range c.Kustomize {
			ref, err := imageref.Parse(image)
			if err != nil {
				return nil, nil, err
			}
			if content, _, err = rewrite(".argocd-source-a.yaml", content, manifest.Rules{}, func(s manifest.Site) (imageref.Ref, bool, bool) {
				return ref, false, s.Ref.Same(ref)
			}); err != nil {
				return nil, nil, err
			}
		}
	case "helmvalues":
		for _, p := range c.Helm {
			if p.Value == "" {
				return nil, nil, errOther
			}
			if !strings.HasSuffix(p.Name, "tag") && !strings.Contains(p.Name, "spec") {
				continue
			}
			rule, ref := manifest.FieldRule{File: "values.yaml", Path: p.Name, Image: "app"}, imageref.Ref{Repository: "app", Tag: p.Value}
			if strings.Contains(p.Name, "spec") {
				rule.Image = ""
				ref, _ = imageref.Parse(p.Value)
			}
			if content, _, err = rewrite("values.yaml", content, manifest.Rules{Fields: []manifest.FieldRule{rule}}, func(s manifest.Site) (imageref.Ref, bool, bool) {
				return ref, false, s.Field == p.Name || strings.Contains(s.Field, `"`+p.Name+`"`)
			}); err != nil {
				return nil, nil, err
			}
		}
	default:
		return nil, nil, errOther
	}
	for _, value := range c.WantValues {
		return strings.Contains(content, value), true, nil
	}
	return decoded(content), decoded(wanted), nil
}

func peerFlux(c peerCase) (got, want any, err error) {
	var files map[string]string
	_ = json.Unmarshal(c.Input, &files)
	ref := imageref.Ref{Repository: "used", Tag: "v1.1.0"}
	if strings.Contains(c.Op, "setters") {
		ref = imageref.Ref{Repository: "helloworld", Tag: "1.0.1"}
	}
	gots, wants := map[string]any{}, map[string]any{}
	for name, content := range files {
		if strings.HasPrefix(name, "no/") {
			continue // limited by path, which is not this package's business
		}
		content = strings.ReplaceAll(content, "SETTER_SITE", `{"$imagepolicy": "ns:p"}`)
		out, _, err := rewrite(name, content, manifest.Rules{}, func(s manifest.Site) (imageref.Ref, bool, bool) { return ref, false, s.Ref.Same(ref) })
		if err != nil {
			return nil, nil, err
		}
		gots[name], wants[name] = decoded(out), decoded(content)
		if wanted, ok := c.WantFiles[name]; ok {
			wants[name] = decoded(text(wanted))
		}
	}
	return gots, wants, nil
}

func peerFormat(c peerCase) (got, want any, err error) {
	var change struct{ Path, Value, NewTag string }
	_ = json.Unmarshal(c.Change, &change)
	name, content := one(c.Input)
	_, wanted := one(c.Want)
	var rules manifest.Rules
	tag := "v2"
	if change.Path != "" {
		rules.Fields, tag = []manifest.FieldRule{{File: name, Path: change.Path, Image: "app"}}, change.Value
	}
	out, _, err := rewrite(name, content, rules, func(s manifest.Site) (imageref.Ref, bool, bool) {
		return imageref.Ref{Tag: tag}, false, strings.HasSuffix(s.Ref.Repository, "app")
	})
	return out, wanted, err
}

func peerQuoting(c peerCase) (got, want any, err error) {
	ref, err := imageref.Parse("app:" + c.Value)
	if err != nil {
		return nil, nil, errOther // no tag, so that nobody asks to write it
	}
	out, _, err := rewrite("a.yaml", "image: {repository: app, tag: v0}", manifest.Rules{}, func(manifest.Site) (imageref.Ref, bool, bool) { return ref, false, true })
	return !bytes.Contains([]byte(out), []byte(`"`)), c.Plain, err
}

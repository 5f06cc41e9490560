package manifest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Rules say what counts as a site beyond what Find knows by itself. The zero value adds nothing.
type Rules struct {
	Fields       []FieldRule
	ExcludeKinds []string // objects of these kinds are left alone, with all that is in them
	Include      bool     // Compose files and GitHub workflows count too
	Choosers     bool     // objects that say how others choose versions count too; what they name is not to be changed
}

// FieldRule names a further place: in objects of Kind, or in the files that the glob File matches; an object of that kind
// in such a file when both are given. File is matched component by component from the end, each as path.Match does:
// "*/values.yaml" matches at any depth below a folder. Path is the dotted path of the field, below the object or the
// document. A key with dots is quoted (["a.b"]) or escaped (a\.b), "*" stands for any key or element, [2] for one element;
// a list whose element is not named means each. Image is the repository of a value that is only a tag or a digest, ""
// when the value is a whole reference, a map of repository and tag, or a literal block of YAML or JSON with its own sites.
type FieldRule struct {
	Kind  string
	File  string
	Path  string
	Image string
}

// Validate reports what is wrong with the rule.
func (r FieldRule) Validate() error {
	if r.Kind == "" && r.File == "" {
		return errors.New("neither a kind nor a file is named")
	}
	if _, err := path.Match(r.File, ""); err != nil {
		return fmt.Errorf("file %q: %w", r.File, err)
	}
	if _, err := steps(r.Path); err != nil {
		return fmt.Errorf("field %q: %w", r.Path, err)
	}
	if r.Image != "" {
		if ref, err := imageref.Parse(r.Image); err != nil {
			return fmt.Errorf("image: %w", err)
		} else if ref.Versioned() {
			return fmt.Errorf("image %q: is a repository, without tag or digest", r.Image)
		}
	}
	return nil
}

// inFile reports whether the rule is about files at p, whatever kinds they hold.
func (r FieldRule) inFile(p string) bool {
	if r.File == "" {
		return false
	}
	globs, parts := strings.Split(r.File, "/"), strings.Split(p, "/")
	if len(globs) > len(parts) {
		return false
	}
	for i, part := range parts[len(parts)-len(globs):] {
		if ok, err := path.Match(globs[i], part); !ok || err != nil {
			return false
		}
	}
	return true
}

// The images of a Compose file and of a GitHub workflow, for Rules.Include.
var (
	composeRules  = []FieldRule{{Path: "services.*.image"}}
	workflowRules = []FieldRule{
		{Path: "jobs.*.container"}, {Path: "jobs.*.container.image"}, {Path: "jobs.*.services.*.image"},
		{Path: "jobs.*.steps.uses"},
	}
)

// isCompose reports whether p has a name that Compose looks for, whose images no cluster pulls.
func isCompose(p string) bool {
	name := path.Base(p)
	return strings.HasPrefix(name, "docker-compose") || name == "compose.yaml" || name == "compose.yml"
}

// isWorkflow reports whether GitHub would run the file at p.
func isWorkflow(p string) bool {
	return path.Base(path.Dir(p)) == "workflows" && path.Base(path.Dir(path.Dir(p))) == ".github"
}

// builtIn are the rules for files of tools other than Kubernetes, and whether p is such a file.
func (r Rules) builtIn(p string) (rules []FieldRule, others bool) {
	switch {
	case isCompose(p):
		rules = composeRules
	case isWorkflow(p):
		rules = workflowRules
	default:
		return nil, false
	}
	if !r.Include {
		rules = nil
	}
	return rules, true
}

// steps splits a field path into its keys; "*" and elements in brackets are steps of their own.
func steps(field string) ([]string, error) {
	var found []string
	for rest := field; rest != ""; {
		var step string
		if strings.HasPrefix(rest, `["`) {
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, fmt.Errorf("%s: the quoted key does not end in \"]", rest)
			}
			step, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted)+2:]
		} else if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			step = rest[:end+1]
			if _, err := strconv.ParseUint(strings.Trim(step, "[]"), 10, 31); err != nil && step != "[*]" {
				return nil, fmt.Errorf("%s: brackets hold a number, * or a quoted key", rest)
			}
			rest = rest[end+1:]
		} else if step, rest = plainStep(rest); step == "" {
			return nil, errors.New("a key between two dots is empty")
		}
		found = append(found, step)
		if after, dot := strings.CutPrefix(rest, "."); dot {
			if rest = after; rest == "" {
				return nil, errors.New("it ends in a dot")
			}
		} else if rest != "" && rest[0] != '[' {
			return nil, fmt.Errorf("%s: a dot is missing", rest)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("it is empty")
	}
	return found, nil
}

// plainStep is the key up to the next dot or bracket that no backslash escapes.
func plainStep(s string) (step, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '.' || s[i] == '[':
			return b.String(), s[i:]
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// apply finds the sites of the rules at and below root, an object of the kind or a document when that is "".
func (f *finder) apply(rules []FieldRule, kind string, root mapping, at *trail) {
	f.ruling = true
	defer func() { f.ruling = false }()
	for _, r := range rules {
		if r.Kind != kind || r.File != "" && !r.inFile(f.src.path) {
			continue
		}
		if steps, err := steps(r.Path); err == nil {
			w := ruleWalk{finder: f, rule: r, seen: map[reached]bool{}}
			w.follow(steps, root.node, mapping{}, at)
		}
	}
}

// ruleWalk follows the path of one rule. An alias is followed once with the same steps to go, so that no file makes it
// go on for ever.
type ruleWalk struct {
	*finder
	rule FieldRule
	seen map[reached]bool
}

type reached struct {
	node *yaml.Node
	left int
}

// follow goes the steps below node, which stands in the mapping m at the trail's last key. It reports whether they lead
// to a value.
func (w ruleWalk) follow(steps []string, node *yaml.Node, m mapping, at *trail) (found bool) {
	if node.Kind == yaml.AliasNode {
		here := reached{node.Alias, len(steps)}
		if w.seen[here] {
			return true
		}
		w.seen[here] = true
		node = node.Alias
	}
	switch {
	case len(steps) == 0:
		return w.arrive(node, m, at)
	case node.Kind == yaml.SequenceNode:
		index := ""
		if step := steps[0]; step == "*" || step[0] == '[' {
			index, steps = strings.Trim(step, "[*]"), steps[1:]
		}
		for i, element := range node.Content {
			if index == "" || index == strconv.Itoa(i) {
				found = w.follow(steps, element, m, at.element(i, element)) || found
			}
		}
	case node.Kind == yaml.MappingNode:
		m = mapping{w.src, node}
		m.entries(func(k, v *yaml.Node) {
			if steps[0] == "*" || steps[0] == k.Value {
				found = w.follow(steps[1:], v, m, at.key(k)) || found
			}
		})
		if k, v := m.find(strings.Join(steps, ".")); !found && len(steps) > 1 && k != nil { // people write keys with dots too
			found = w.follow(nil, v, m, at.key(k))
		}
	}
	return found
}

// arrive finds the site of the value that the rule names, and reports whether it can be one.
func (w ruleWalk) arrive(value *yaml.Node, m mapping, at *trail) bool {
	switch {
	case value.Kind == yaml.MappingNode && w.rule.Image == "":
		w.imageMap(mapping{w.src, value}, "image", at)
	case value.Kind != yaml.ScalarNode:
		return false
	case w.rule.Image == "" && strings.Contains(strings.TrimSpace(value.Value), "\n"):
		w.within(value, "", false, at)
	case w.rule.Image == "":
		w.whole(m, value, at)
	default:
		w.version(w.rule.Image, m, value, at)
	}
	return true
}

// choosers are the groups of objects that say how others choose versions: Argo CD Image Updater and Flux. What they name is
// no image that runs.
var choosers = []string{"argocd-image-updater.argoproj.io", "image.toolkit.fluxcd.io"}

// excluded reports whether an object is left alone. The images in a CustomResourceDefinition are a schema's.
func (r Rules) excluded(o Object) bool {
	group, _, _ := strings.Cut(o.APIVersion, "/")
	return o.Kind == "CustomResourceDefinition" || !r.Choosers && slices.Contains(choosers, group) || slices.Contains(r.ExcludeKinds, o.Kind)
}

package argocd

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// maxRendered is the length in bytes of a name or a path, beyond which a template makes no sense.
const maxRendered = 4096

var errTooLong = fmt.Errorf("its template makes a text of more than %d bytes", maxRendered)

var tag = regexp.MustCompile(`\{\{(.*?)\}\}`)

// rendered is text with the value of each {{tag}} in its place.
func rendered(text string, value func(tag string) (string, error)) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var b strings.Builder
	from := 0
	for _, at := range tag.FindAllStringSubmatchIndex(text, -1) {
		v, err := value(strings.TrimSpace(text[at[2]:at[3]]))
		if err != nil {
			return "", err
		}
		b.WriteString(text[from:at[0]] + v)
		if from = at[1]; b.Len() > maxRendered {
			return "", errTooLong
		}
	}
	return b.String() + text[from:], nil
}

// fastTemplate renders {{key}}, where what is nested is flat: {{cluster.name}}, {{path[0]}}.
func (p parameters) fastTemplate() func(text string) (string, error) {
	flat := map[string]string{}
	flatten(flat, "", map[string]any(p), maxDepth)
	return func(text string) (string, error) {
		return rendered(text, func(key string) (string, error) {
			if v, known := flat[key]; known {
				return v, nil
			}
			return "", unknown("{{" + key + "}}")
		})
	}
}

// maxDepth is how deep parameters nest at most; what lies deeper is left out.
const maxDepth = 32

func flatten(flat map[string]string, key string, value any, depth int) {
	if depth == 0 {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for k, inner := range v {
			flatten(flat, strings.TrimPrefix(key+"."+k, "."), inner, depth-1)
		}
	case []any:
		for i, inner := range v {
			flatten(flat, key+"."+strconv.Itoa(i), inner, depth-1)
		}
	default:
		flat[key] = fmt.Sprint(v)
	}
}

func unknown(text string) error {
	return fmt.Errorf("%.80s in its template is nothing that the generator gives", text)
}

// addPath adds the parameter path of a git generator, below a prefix when the generator has one: of a folder, or of a file
// in it.
func (p parameters) addPath(prefix, dir, file string, goTemplate bool) {
	of := map[string]any{"basename": path.Base(dir), "basenameNormalized": normalized(path.Base(dir))}
	if file != "" {
		of["filename"], of["filenameNormalized"] = file, normalized(file)
	}
	segments := strings.Split(dir, "/")
	if goTemplate {
		of["path"], of["segments"] = dir, segments
		if prefix != "" {
			p[prefix] = map[string]any{"path": of}
		} else {
			p["path"] = of
		}
		return
	}
	name := strings.TrimPrefix(prefix+".path", ".")
	p[name] = dir
	for key, value := range of {
		p[name+"."+key] = value
	}
	for i, segment := range segments {
		p[fmt.Sprintf("%s[%d]", name, i)] = segment
	}
}

// addValues adds the generator's values, which may be templates over the other parameters.
func (p parameters) addValues(values map[string]string, goTemplate bool) error {
	if len(values) == 0 {
		return nil
	}
	render := p.fastTemplate()
	if goTemplate {
		render = p.goTemplate
	}
	given := map[string]any{}
	for key, text := range values {
		v, err := render(text)
		if err != nil {
			return err
		}
		given[key] = v
	}
	if _, taken := p["values"]; taken {
		return errors.New("its generator has values, and so have the files that it reads")
	}
	p["values"] = given
	return nil
}

var notInNames = regexp.MustCompile(`[^-a-z0-9.]`)

// normalized is a text as a part of a Kubernetes name, as Argo CD makes it: at most 253 bytes, lower case.
func normalized(text string) string {
	text = notInNames.ReplaceAllString(strings.ToLower(text), "-")
	return strings.Trim(text[:min(len(text), 253)], "-.")
}

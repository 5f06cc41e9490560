package argocd

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	engine "text/template"
	"text/template/parse"
)

// goTemplate renders a Go template that has no loops, with those functions that manifests use
// (https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/GoTemplate/).
func (p parameters) goTemplate(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := engine.New("").Funcs(functions).Parse(text)
	if err != nil || !straight(t.Root) {
		return "", fmt.Errorf("%.80s in its template is not rendered", text)
	}
	var out limited
	if err := t.Execute(&out, map[string]any(p)); err != nil {
		if errors.Is(err, errTooLong) {
			return "", errTooLong
		}
		return "", unknown(text)
	}
	// A field that is not there, and what is no text: a mapping or a list.
	if made := string(out); !strings.Contains(made, "<no value>") && !strings.Contains(made, "map[") && !strings.HasPrefix(made, "[") {
		return made, nil
	}
	return "", unknown(text)
}

// straight reports whether nothing in a template is done more than once.
func straight(node parse.Node) bool {
	branch := func(b parse.BranchNode) bool {
		return straight(b.List) && (b.ElseList == nil || straight(b.ElseList))
	}
	switch n := node.(type) {
	case *parse.ListNode:
		return !slices.ContainsFunc(n.Nodes, func(inner parse.Node) bool { return !straight(inner) })
	case *parse.IfNode:
		return branch(n.BranchNode)
	case *parse.WithNode:
		return branch(n.BranchNode)
	case *parse.ActionNode, *parse.TextNode, *parse.CommentNode:
		return true
	}
	return false
}

// limited is what a template has made so far.
type limited []byte

func (l *limited) Write(p []byte) (int, error) {
	if len(*l)+len(p) > maxRendered {
		return 0, errTooLong
	}
	*l = append(*l, p...)
	return len(p), nil
}

// functions are those of Argo CD and of sprig that are known here, and of Go's own none that makes much of little.
var functions = engine.FuncMap{
	"normalize":  normalized,
	"lower":      strings.ToLower,
	"upper":      strings.ToUpper,
	"trim":       strings.TrimSpace,
	"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	"contains":   func(part, s string) bool { return strings.Contains(s, part) },
	"hasPrefix":  func(prefix, s string) bool { return strings.HasPrefix(s, prefix) },
	"hasSuffix":  func(suffix, s string) bool { return strings.HasSuffix(s, suffix) },
	"splitList":  func(separator, s string) []string { return strings.Split(s, separator) },
	"quote":      func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
	"toString":   func(v any) string { return fmt.Sprint(v) },
	"empty":      empty,
	"default":    defaulted,
	"ternary":    ternary,
	"replace":    replaced,
	"printf":     printed,
}

// empty reports whether a value is what its type is without a value.
func empty(v any) bool {
	truth, ok := engine.IsTrue(v)
	return !ok || !truth
}

func defaulted(instead any, given ...any) any {
	if len(given) == 0 || empty(given[0]) {
		return instead
	}
	return given[0]
}

func ternary(yes, no any, condition bool) any {
	if condition {
		return yes
	}
	return no
}

func replaced(from, to, s string) (string, error) {
	if strings.Count(s, from)*len(to) > maxRendered {
		return "", errTooLong
	}
	return strings.ReplaceAll(s, from, to), nil
}

var sized = regexp.MustCompile(`%[^%svdq]`)

func printed(format string, values ...any) (string, error) {
	if sized.MatchString(format) {
		return "", errTooLong
	}
	made := fmt.Sprintf(format, values...)
	if len(made) > maxRendered {
		return "", errTooLong
	}
	return made, nil
}

package manifest

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// versionLabel is the label that says an application's version (Kubernetes, Recommended Labels).
const versionLabel = "app.kubernetes.io/version"

// labelled are the mappings of an object whose labels say its version: its own, and those of its pods.
var labelled = [][]string{
	{"metadata"}, {"spec", "template", "metadata"}, {"spec", "jobTemplate", "metadata"},
	{"spec", "jobTemplate", "spec", "template", "metadata"},
}

// SetVersionLabel is the edits that make the version labels of the site's object say tag; none when it has no such labels,
// when they say so already, or when tag is no value that a label may have. Selectors are left alone: they cannot change.
func (s Site) SetVersionLabel(tag string) []Edit {
	if s.root.node == nil || !isLabelValue(tag) {
		return nil
	}
	var edits []Edit
	for _, way := range labelled {
		if m := s.root.below(append(slices.Clone(way), "labels")...); m.node != nil {
			if f, err := m.field(versionLabel); err == nil && f.present() && f.value.value != tag {
				edits = append(edits, f.set(tag))
			}
		}
	}
	return edits
}

// isLabelValue reports whether a label may have the value: at most 63 characters, the last of them a letter or a digit
// (Kubernetes, Labels and Selectors). What else tags may hold, labels may hold too.
func isLabelValue(tag string) bool {
	return tag != "" && len(tag) <= 63 && !strings.HasPrefix(tag, "_") && strings.TrimRight(tag, "_.-") == tag
}

// below is the mapping at the keys below m, zero when there is none.
func (m mapping) below(keys ...string) mapping {
	for _, key := range keys {
		_, v := m.find(key)
		if v != nil && v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if v == nil || v.Kind != yaml.MappingNode {
			return mapping{}
		}
		m = mapping{m.src, v}
	}
	return m
}

package manifest

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// isPatch reports whether m is a list of JSON 6902 operations.
func isPatch(m mapping) bool {
	if m.node.Kind != yaml.SequenceNode || len(m.node.Content) == 0 || m.node.Content[0].Kind != yaml.MappingNode {
		return false
	}
	first := mapping{m.src, m.node.Content[0]}
	return first.text("op") != "" && strings.HasPrefix(first.text("path"), "/")
}

// named is a list whose elements say in one key what they set, and in the key value what it becomes: Helm's parameters
// (name: image.tag) and JSON patches (path: /spec/image/tag). An element that is there twice is nil.
type named map[string]*part

func (f *finder) named(list *yaml.Node, key, separator string, at *trail) {
	elements := named{}
	var order []string
	for i, node := range list.Content {
		if node.Kind != yaml.MappingNode {
			continue
		}
		m := mapping{f.src, node}
		name := m.text(key)
		if _, value := m.find("value"); value == nil || value.Kind != yaml.ScalarNode || m.text("op") == "remove" {
			continue
		}
		if _, twice := elements[name]; twice {
			elements[name] = nil
			continue
		}
		elements[name] = &part{mapping: m, at: at.element(i, node), key: "value"}
		order = append(order, name)
	}
	for _, name := range order {
		f.namedImage(elements, name, separator)
	}
}

// namedImage finds the site of the element, if it is a whole reference, or the repository of one that has a tag or a
// digest beside it.
func (f *finder) namedImage(elements named, name, separator string) {
	head, last := "", name
	if i := strings.LastIndex(name, separator); i >= 0 {
		head, last = name[:i+len(separator)], name[i+len(separator):]
	}
	element, tag := elements[name], head+"tag"
	if element == nil {
		return
	}
	if namesImage(last) {
		tag = name + "Tag"
		if _, apart := elements[tag]; !apart {
			_, value := element.find("value")
			f.whole(element.mapping, value, element.at.to("value", false, value.Line))
			return
		}
	} else if last != "repository" && (last != "name" || !isImageKey(strings.TrimSuffix(head, separator))) {
		return
	}
	p := parts{name: *element}
	for name, to := range map[string]*part{head + "registry": &p.registry, tag: &p.tag, head + "digest": &p.digest} {
		other, found := elements[name]
		if found && other == nil {
			return
		}
		if found {
			*to = *other
		}
	}
	if p.tag.key != "" || p.digest.key != "" {
		f.spread(p, "", element.node, element.at)
	}
}

package argocd

import (
	"bytes"
	"slices"
	"strings"
)

// ConfigMap is the name of that with Argo CD's settings, and HealthKey the setting that gives Applications a health of their
// own, so that sync waves wait for it (Argo CD's documentation, "Health assessment of Argo CD Apps").
const (
	ConfigMap = "argocd-cm"
	HealthKey = "resource.customizations.health.argoproj.io_Application"
)

// The same in the one setting of old for all kinds, and in the ArgoCD object of Argo CD's operator.
const (
	oldHealthKey = "argoproj.io/Application:"
	oldHealth    = "health.lua"
	operatorKey  = "resourceHealthChecks"
)

// Settings reports whether a file has Argo CD's ConfigMap, and whether it, a generator of it, values of a chart or the
// operator's object give Applications a health of their own. Comments do not count.
func Settings(data []byte) (settings, health bool) {
	words := []string{ConfigMap, HealthKey, operatorKey, oldHealth}
	if !slices.ContainsFunc(words, func(word string) bool { return bytes.Contains(data, []byte(word)) }) {
		return false, false
	}
	old, lua, operator := false, false, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "- "), ":")
		value = strings.Trim(value, ` "'`)
		settings = settings || key == "name" && value == ConfigMap
		operator = operator || key == operatorKey
		old, lua = old || line == oldHealthKey, lua || key == oldHealth
		health = health || strings.Contains(line, HealthKey) || operator && key == "kind" && value == "Application"
	}
	return settings, health || old && lua
}

package argocd

import (
	"bytes"
	"strings"
)

// ConfigMap is the name of that with Argo CD's settings, and HealthKey the setting that gives Applications a health of their
// own, so that sync waves wait for it (Argo CD's documentation, "Health assessment of Argo CD Apps").
const (
	ConfigMap = "argocd-cm"
	HealthKey = "resource.customizations.health.argoproj.io_Application"
)

// Settings reports whether a file has Argo CD's ConfigMap, and whether it, a generator of it or values of a chart give
// Applications a health of their own. Comments do not count.
func Settings(data []byte) (settings, health bool) {
	if !bytes.Contains(data, []byte(ConfigMap)) && !bytes.Contains(data, []byte(HealthKey)) {
		return false, false
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "- "), ":")
		settings = settings || key == "name" && strings.Trim(value, ` "'`) == ConfigMap
		health = health || strings.Contains(line, HealthKey)
	}
	return settings, health
}

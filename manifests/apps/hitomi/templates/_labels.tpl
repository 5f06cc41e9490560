{{- define "hitomi.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Namespace }}
{{- end }}

{{- define "hitomi.labels" -}}
{{ include "hitomi.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: hitomi
app.kubernetes.io/managed-by: argocd
{{- end }}

{{- /* REPOSITORY@DIGEST when the values have a digest, else REPOSITORY:TAG; no default: a chart without a version must not deploy one. */}}
{{- define "hitomi.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ required "image.tag or image.digest is needed" .tag }}
{{- end }}
{{- end }}

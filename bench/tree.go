package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// perApp is how many files makeTree writes for each application.
const perApp = 5

// repository is the image of an application, which only its Deployment names. Its last part stands in all its files.
func repository(app int) string {
	return fmt.Sprintf("harbor.example.com/team-%02d/app-%05d", app%50, app)
}

// makeTree writes as many files as asked for, a folder for each application. The same number gives the same tree.
func makeTree(dir string, files int) error {
	for app := range files / perApp {
		name := fmt.Sprintf("app-%05d", app)
		folder := filepath.Join(dir, "apps", fmt.Sprintf("team-%02d", app%50), name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for file, template := range templates {
			content := strings.NewReplacer("IMAGE", repository(app)+":1.0.0", "NAME", name).Replace(template)
			if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

var templates = map[string]string{
	"kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: NAME
resources:
  - deployment.yaml
  - service.yaml
  - ingress.yaml
  - settings.yaml
`,
	"service.yaml": `apiVersion: v1
kind: Service
metadata:
  name: NAME
spec:
  selector:
    app.kubernetes.io/name: NAME
  ports:
    - {name: http, port: 80, targetPort: http}
`,
	"ingress.yaml": `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: NAME
  annotations:
    cert-manager.io/cluster-issuer: internal
spec:
  tls:
    - hosts: [NAME.example.com]
      secretName: NAME-tls
  rules:
    - host: NAME.example.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: NAME
                port: {name: http}
`,
	"settings.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: NAME
data:
` + settings(24),
	"deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  labels:
    app.kubernetes.io/name: NAME
    app.kubernetes.io/part-of: example
spec:
  replicas: 2
  selector:
    matchLabels:
      app.kubernetes.io/name: NAME
  template:
    metadata:
      labels:
        app.kubernetes.io/name: NAME
    spec:
      securityContext:
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      initContainers:
        - name: migrate
          image: docker.io/library/migrate:4.17.0
          args: [up, --verbose]
      containers:
        - name: main
          image: IMAGE # set by the pipeline
          ports:
            - {name: http, containerPort: 8080}
          envFrom:
            - configMapRef: {name: NAME}
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {memory: 256Mi}
          readinessProbe:
            httpGet: {path: /healthz, port: http}
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            initialDelaySeconds: 10
          volumeMounts:
            - {name: data, mountPath: /data}
        - name: proxy
          image: harbor.example.com/platform/proxy:2.3.1
          args:
            - --upstream=http://127.0.0.1:8080
            - --log-format=json
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: NAME}
`,
}

// settings are so many lines of a ConfigMap's data.
func settings(lines int) string {
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "  SETTING_%02d: \"https://service-%02d.example.com/api/v1?timeout=30s\"\n", i, i)
	}
	return b.String()
}

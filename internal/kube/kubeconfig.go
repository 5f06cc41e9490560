package kube

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/ksera524/imgbump/internal/fault"
)

// kubeconfig is what we need of kubectl's configuration (kubernetes.io/docs/reference/config-api/kubeconfig.v1).
type kubeconfig struct {
	CurrentContext string         `yaml:"current-context"`
	Contexts       []contextEntry `yaml:"contexts"`
	Clusters       []cluster      `yaml:"clusters"`
	Users          []user         `yaml:"users"`

	files []string // that it was read from
}

type contextEntry struct {
	Name    string `yaml:"name"`
	Context struct {
		Cluster string `yaml:"cluster"`
		User    string `yaml:"user"`

		Namespace string `yaml:"namespace"`
	} `yaml:"context"`
}

type cluster struct {
	Name    string `yaml:"name"`
	Cluster struct {
		Server     string  `yaml:"server"`
		CA         string  `yaml:"certificate-authority"`
		CAData     encoded `yaml:"certificate-authority-data"`
		ServerName string  `yaml:"tls-server-name"`
		ProxyURL   string  `yaml:"proxy-url"`
		Insecure   bool    `yaml:"insecure-skip-tls-verify"`
	} `yaml:"cluster"`
}

type user struct {
	Name string `yaml:"name"`
	User struct {
		Token           string  `yaml:"token"`
		TokenFile       string  `yaml:"tokenFile"`
		Certificate     string  `yaml:"client-certificate"`
		CertificateData encoded `yaml:"client-certificate-data"`
		Key             string  `yaml:"client-key"`
		KeyData         encoded `yaml:"client-key-data"`
		Username        string  `yaml:"username"`
		Password        string  `yaml:"password"`

		Exec struct {
			Command string `yaml:"command"`
		} `yaml:"exec"`
		AuthProvider struct {
			Name string `yaml:"name"`
		} `yaml:"auth-provider"`
		As string `yaml:"as"`
	} `yaml:"user"`
}

// encoded is bytes that stand in base64.
type encoded []byte

func (e *encoded) UnmarshalYAML(n *yaml.Node) error {
	decoded, err := base64.StdEncoding.DecodeString(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: no base64", n.Line)
	}
	*e = decoded
	return nil
}

// readConfig merges files as kubectl does: one that is not there counts as empty, the first that has a name has it.
func readConfig(files []string) (kubeconfig, error) {
	var merged kubeconfig
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return merged, broken(file, fault.Cause(err))
		}
		var one kubeconfig
		if err := yaml.Unmarshal(raw, &one); err != nil {
			return merged, broken(file, unreadable(err))
		}
		one.locate(filepath.Dir(file))
		if merged.CurrentContext == "" {
			merged.CurrentContext = one.CurrentContext
		}
		merged.Contexts = append(merged.Contexts, one.Contexts...)
		merged.Clusters = append(merged.Clusters, one.Clusters...)
		merged.Users = append(merged.Users, one.Users...)
		merged.files = append(merged.files, file)
	}
	return merged, nil
}

func broken(file string, err error) error {
	return &fault.Error{Kind: fault.Usage, What: "read", Where: file, Err: err, Hint: "check it with kubectl config view"}
}

// unreadable is err without what the file says: yaml quotes values that have the wrong type, and one may be a secret.
func unreadable(err error) error {
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		return errors.New("a key has a value of the wrong type")
	}
	return err
}

// locate makes the paths in a file relative to its folder.
func (k *kubeconfig) locate(folder string) {
	at := func(paths ...*string) {
		for _, path := range paths {
			if *path != "" && !filepath.IsAbs(*path) {
				*path = filepath.Join(folder, *path)
			}
		}
	}
	for i := range k.Clusters {
		at(&k.Clusters[i].Cluster.CA)
	}
	for i := range k.Users {
		u := &k.Users[i].User
		at(&u.TokenFile, &u.Certificate, &u.Key)
	}
}

// current is the cluster and the user of the current context.
func (k *kubeconfig) current() (cluster, user, error) {
	for _, c := range k.Contexts {
		if c.Name != k.CurrentContext {
			continue
		}
		cl, err := k.cluster(c.Context.Cluster)
		if err != nil {
			return cl, user{}, err
		}
		u, err := k.user(c.Context.User)
		return cl, u, err
	}
	return cluster{}, user{}, fmt.Errorf("there is no context %q, which current-context names", k.CurrentContext)
}

// defaultNamespace is where objects are that name no other.
const defaultNamespace = "default"

// namespace is that of the current context.
func (k *kubeconfig) namespace() string {
	for _, c := range k.Contexts {
		if c.Name == k.CurrentContext {
			return cmp.Or(c.Context.Namespace, defaultNamespace)
		}
	}
	return defaultNamespace
}

func (k *kubeconfig) cluster(name string) (cluster, error) {
	for _, c := range k.Clusters {
		if c.Name == name {
			return c, nil
		}
	}
	return cluster{}, fmt.Errorf("context %s names cluster %q, which is not there", k.CurrentContext, name)
}

func (k *kubeconfig) user(name string) (user, error) {
	if name == "" { // nobody, as kubectl takes it
		return user{}, nil
	}
	for _, u := range k.Users {
		if u.Name == name {
			return u, nil
		}
	}
	return user{}, fmt.Errorf("context %s names user %q, which is not there", k.CurrentContext, name)
}

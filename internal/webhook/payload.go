package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/imageref"
)

// delivery is a request whose sender is known.
type delivery struct {
	header http.Header
	query  url.Values
	body   []byte
}

// said is what a delivery tells: images that were pushed, none when it is about something else. Its id is what the sender calls
// the delivery, "" without; the same one again is the same delivery.
type said struct {
	id     string
	pushes []push
}

// push is an image as its registry names it. Tag and digest are "" where they are not told.
type push struct {
	registry, repository, tag, digest string
	at                                time.Time
}

// parsers read what the kinds send. Their errors go back to the sender, and do not repeat what it sent.
var parsers = map[Kind]func(delivery) (said, error){
	Harbor:       parseHarbor,
	DockerHub:    parseDockerHub,
	GHCR:         parseGitHub,
	Quay:         parseQuay,
	ACR:          parseACR,
	Aliyun:       parseAliyun,
	CloudEvents:  parseCloudEvents,
	Distribution: parseDistribution,
	GitLab:       parseDistribution,
}

var (
	errJSON       = errors.New("the body is not the JSON that this type sends")
	errRepository = errors.New("the body names no repository")
	errLong       = fmt.Errorf("it lists more than %d events, images or tags", maxListed)
	errReference  = errors.New("its registry, repository or tag can be no part of an image's name; a registry's own name may need an alias")
)

// decode reads JSON without telling what is wrong with it: the error of encoding/json repeats parts of it.
func decode(body []byte, into any) error {
	switch err := json.Unmarshal(body, into); {
	case errors.Is(err, errLong):
		return errLong
	case err != nil:
		return errJSON
	}
	return nil
}

// maxListed is how many events, images or tags a delivery may list. Registries list a few.
const maxListed = 1000

// list is a list of which no more is read than a delivery may have: two bytes, "{}", are hundreds in memory.
type list[T any] []T

// UnmarshalJSON reads a list, or null for none.
func (l *list[T]) UnmarshalJSON(text []byte) error {
	in := json.NewDecoder(bytes.NewReader(text))
	switch begin, err := in.Token(); {
	case err != nil || begin == nil:
		return err
	case begin != json.Delim('['):
		return errJSON
	}
	*l = list[T]{}
	for in.More() {
		if len(*l) == maxListed {
			return errLong
		}
		var one T
		if err := in.Decode(&one); err != nil {
			return err
		}
		*l = append(*l, one)
	}
	return nil
}

// reference is an image in a registry. A tag that is a digest is none: Harbor calls the parts of an image for several platforms
// so.
func reference(registry, repository, tag, digest string) (imageref.Ref, error) {
	want := imageref.Ref{Registry: registry, Repository: repository, Tag: tag, Digest: digest}
	if strings.Contains(tag, ":") {
		want.Tag = ""
	}
	if ref, err := imageref.Parse(want.String()); err != nil || ref != want || registry == "" {
		return imageref.Ref{}, errReference
	}
	return want, nil
}

// host is the first part of an address, with or without a scheme.
func host(address string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	return address
}

// path is a repository's full name; where that is not told, its parts make it.
func path(full, namespace, name string) (string, error) {
	if full == "" && name != "" {
		full = strings.TrimPrefix(namespace+"/"+name, "/")
	}
	if full == "" {
		return "", errRepository
	}
	return full, nil
}

// stamp is a time as RFC 3339 writes it, zero for another text.
func stamp(text string) time.Time {
	at, _ := time.Parse(time.RFC3339, text)
	return at
}

// seconds is a time in seconds since 1970, zero for one that cannot be.
type seconds float64

func (s seconds) time() time.Time {
	if s < 1 || s > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0)
}

// harborData is what Harbor tells of an artifact, in both its formats.
type harborData struct {
	Resources list[struct {
		Digest string `json:"digest"`
		Tag    string `json:"tag"`
		URL    string `json:"resource_url"`
	}] `json:"resources"`
	Repository struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		FullName  string `json:"repo_full_name"`
	} `json:"repository"`
}

func (d harborData) pushes(at time.Time) ([]push, error) {
	repository, err := path(d.Repository.FullName, d.Repository.Namespace, d.Repository.Name)
	if err != nil {
		return nil, err
	}
	var pushes []push
	for _, r := range d.Resources {
		pushes = append(pushes, push{registry: host(r.URL), repository: repository, tag: r.Tag, digest: r.Digest, at: at})
	}
	return pushes, nil
}

// parseHarbor reads the formats "Default" and "CloudEvents".
func parseHarbor(d delivery) (said, error) {
	var body struct {
		SpecVersion string          `json:"specversion"`
		Type        string          `json:"type"`
		OccurAt     seconds         `json:"occur_at"`
		Data        json.RawMessage `json:"event_data"`
	}
	if err := decode(d.body, &body); err != nil {
		return said{}, err
	}
	switch {
	case body.SpecVersion != "":
		return parseCloudEvents(d)
	case body.Type == "":
		return said{}, errors.New("the body has no type of event")
	case body.Type != "PUSH_ARTIFACT":
		return said{}, nil
	}
	var data harborData
	if err := decode(body.Data, &data); err != nil {
		return said{}, err
	}
	pushes, err := data.pushes(body.OccurAt.time())
	return said{pushes: pushes}, err
}

func parseDockerHub(d delivery) (said, error) {
	var body struct {
		Data *struct {
			Tag string  `json:"tag"`
			At  seconds `json:"pushed_at"`
		} `json:"push_data"`
		Repository struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			FullName  string `json:"repo_name"`
		} `json:"repository"`
	}
	if err := decode(d.body, &body); err != nil {
		return said{}, err
	}
	repository, err := path(body.Repository.FullName, body.Repository.Namespace, body.Repository.Name)
	if err != nil {
		return said{}, err
	}
	if body.Data == nil {
		return said{}, nil
	}
	return said{pushes: []push{{registry: imageref.DefaultRegistry, repository: repository, tag: body.Data.Tag, at: body.Data.At.time()}}}, nil
}

func parseQuay(d delivery) (said, error) {
	var body struct {
		Repository string       `json:"repository"`
		URL        string       `json:"docker_url"`
		Tags       list[string] `json:"updated_tags"`
	}
	if err := decode(d.body, &body); err != nil {
		return said{}, err
	}
	if body.Repository == "" {
		return said{}, errRepository
	}
	registry := "quay.io"
	if body.URL != "" {
		registry = host(body.URL)
	}
	var pushes []push
	for _, tag := range body.Tags {
		pushes = append(pushes, push{registry: registry, repository: body.Repository, tag: tag})
	}
	return said{pushes: pushes}, nil
}

// parseAliyun takes the registry from registry_url in the address, because an instance does not tell its name.
func parseAliyun(d delivery) (said, error) {
	var body struct {
		Data struct {
			Tag    string `json:"tag"`
			Digest string `json:"digest"`
		} `json:"push_data"`
		Repository struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			FullName  string `json:"repo_full_name"`
			Region    string `json:"region"`
		} `json:"repository"`
	}
	if err := decode(d.body, &body); err != nil {
		return said{}, err
	}
	repository, err := path(body.Repository.FullName, body.Repository.Namespace, body.Repository.Name)
	if err != nil {
		return said{}, err
	}
	registry := host(d.query.Get("registry_url"))
	if registry == "" {
		registry = "registry." + body.Repository.Region + ".aliyuncs.com"
	}
	return said{pushes: []push{{registry: registry, repository: repository, tag: body.Data.Tag, digest: body.Data.Digest}}}, nil
}

// parseGitHub reads the events package and registry_package; a form is what GitHub sends unless one chooses JSON.
func parseGitHub(d delivery) (said, error) {
	event := d.header.Get("X-GitHub-Event")
	if event == "" {
		return said{}, errors.New("it has no X-GitHub-Event")
	}
	if event != "package" && event != "registry_package" {
		return said{}, nil
	}
	text := d.body
	if bytes.HasPrefix(text, []byte("payload=")) {
		form, err := url.ParseQuery(string(text))
		if err != nil {
			return said{}, errJSON
		}
		text = []byte(form.Get("payload"))
	}
	var body struct {
		Action   string        `json:"action"`
		Package  githubPackage `json:"package"`
		Registry githubPackage `json:"registry_package"`
	}
	if err := decode(text, &body); err != nil {
		return said{}, err
	}
	if body.Action != "published" && body.Action != "updated" {
		return said{}, nil
	}
	p := body.Package
	if event == "registry_package" {
		p = body.Registry
	}
	pushes, err := p.pushes()
	return said{id: d.header.Get("X-GitHub-Delivery"), pushes: pushes}, err
}

// githubPackage is a package of any kind. The version of an image is its digest. When it was pushed is not told: the version's
// own times are in the year 1.
type githubPackage struct {
	Name  string `json:"name"`
	Type  string `json:"package_type"`
	Owner struct {
		Login string `json:"login"`
	} `json:"owner"`
	Version struct {
		Version   string `json:"version"`
		URL       string `json:"package_url"`
		Container struct {
			Tag struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

func (p githubPackage) pushes() ([]push, error) {
	if !strings.EqualFold(p.Type, "container") {
		return nil, nil
	}
	if p.Name == "" || p.Owner.Login == "" {
		return nil, errRepository
	}
	tag := p.Version.Container.Tag
	it := push{registry: "ghcr.io", repository: p.Owner.Login + "/" + p.Name, tag: tag.Name, digest: tag.Digest}
	if it.digest == "" && strings.HasPrefix(p.Version.Version, "sha256:") {
		it.digest = p.Version.Version
	}
	if own := host(p.Version.URL); strings.Contains(own, ".") {
		it.registry = own // GitHub Enterprise Server has a registry of its own
	}
	return []push{it}, nil
}

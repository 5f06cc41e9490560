package config

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Registry is how one registry is asked.
type Registry struct {
	Host        string // as references spell it
	Address     string // the host and port that is spoken to instead, "" for the same
	Plain       bool   // without TLS
	Credentials string // see Credentials; "" is Docker's configuration
	Limit       int    // requests a second, 0 for as many as there are
	CAFile      string
	CA          []byte // PEM; what CAFile holds, once it is read
	Unchecked   bool   // any certificate will do
	Namespace   string // of repositories with one component
	Line        int
}

// credential is how a login is named, in Argo CD Image Updater's words.
var credential = regexp.MustCompile(`^(docker|pullsecret:[^/\s]+/[^/\s]+|secret:[^/\s]+/[^/#\s]+#\S+|env:\w+|ext:/\S+)$`)

// Everybody who may write to the repository writes imgbump.yaml. A login that the file chose freely could be any of the
// machine's, for a host of their own; a pull secret says itself which host it is for.
const trusted = "write docker, or pullsecret:NAMESPACE/NAME; others stand in a file that whoever runs imgbump names with --registries-conf"

// check refuses what makes no sense, and what a repository must not decide.
func (e registry) check(r *reader, at string, hosts map[string]int) {
	r.required(e.Line, at+".prefix", e.Prefix)
	if p := e.Prefix; p.value != "" && !isHost(p.value) {
		r.problem(p.line, "for example: harbor.example.com", "%s.prefix: %q is no host", at, p.value)
	} else if first := hosts[strings.ToLower(p.value)]; first > 0 {
		r.problem(p.line, "keep one of them", "%s.prefix: line %d has it, too", at, first)
	}
	hosts[strings.ToLower(e.Prefix.value)] = e.Prefix.line // 0 for none
	if c := e.Credentials; c.value != "" && (c.value != "docker" && !strings.HasPrefix(c.value, "pullsecret:") || !credential.MatchString(c.value)) {
		r.problem(c.line, trusted, "%s.credentials: %q is not for a repository to choose", at, c.value)
	}
	if e.Limit.line > 0 && (e.Limit.value < 1 || e.Limit.value > maxLimit) {
		r.problem(e.Limit.line, "for example: 20", "%s.limit: %d requests a second", at, e.Limit.value)
	}
	if f := e.CAFile; f.value != "" && !fs.ValidPath(path.Clean(f.value)) {
		r.problem(f.line, "name a file of the repository, relative to "+Name, "%s.ca-file: %s leads elsewhere", at, f.value)
	}
}

// maxLimit is how many requests a second are asked for at most.
const maxLimit = 1000

// isHost reports whether a reference can begin with it.
func isHost(s string) bool {
	ref, err := imageref.Parse(s + "/x")
	return err == nil && ref.Registry == s
}

func (e registry) registry() Registry {
	return Registry{Host: e.Prefix.value, Credentials: e.Credentials.value, Limit: e.Limit.value, CAFile: e.CAFile.value, Line: e.Line}
}

// conf is Argo CD Image Updater's registries.conf.
type conf struct {
	Line       int
	Registries []entry `key:"registries"`
}

type entry struct {
	Line        int
	Name        text   `key:"name"`
	API         text   `key:"api_url"`
	Prefix      text   `key:"prefix"`
	Ping        truth  `key:"ping"`
	Credentials text   `key:"credentials"`
	Expire      text   `key:"credsexpire"`
	TagSort     text   `key:"tagsortmode"`
	Insecure    truth  `key:"insecure"`
	CAFile      text   `key:"ca_file"`
	CAData      text   `key:"ca_data"`
	DefaultNS   text   `key:"defaultns"`
	Limit       number `key:"limit"`
	Default     truth  `key:"default"`
}

// ParseRegistries reads Argo CD Image Updater's registries.conf. Problems are all that is wrong with it, and the registries
// of use only when there are none. Notices say what of it means nothing here.
func ParseRegistries(data []byte) (all []Registry, problems, notices []Problem) {
	var r reader
	var c conf
	r.read(data, &c)
	hosts := map[string]int{}
	for i, e := range c.Registries {
		if host, folder, _ := strings.Cut(e.Prefix.value, "/"); folder != "" && isHost(host) {
			r.unused = append(r.unused, Problem{Line: e.Prefix.line, Text: fmt.Sprintf("registries[%d] is left out: its prefix is a folder of %s, "+
				"and settings are for a whole registry here", i, host)})
			continue
		}
		all = append(all, e.registry(&r, fmt.Sprintf("registries[%d]", i), hosts))
	}
	return all, r.problems, r.unused
}

// registry is the entry's meaning.
func (e entry) registry(r *reader, at string, hosts map[string]int) Registry {
	into := Registry{
		Host: e.Prefix.value, Credentials: e.Credentials.value, Limit: e.Limit.value, CAFile: e.CAFile.value, CA: []byte(e.CAData.value),
		Unchecked: e.Insecure.value, Namespace: e.DefaultNS.value, Line: e.Line,
	}
	r.required(e.Line, at+".api_url", e.API)
	if u, err := url.Parse(e.API.value); e.API.value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil) {
		r.problem(e.API.line, "for example: https://harbor.example.com", "%s.api_url is not the address of a registry", at)
	} else if e.API.value != "" {
		into.Address, into.Plain = u.Host, u.Scheme == "http"
	}
	if into.Host == "docker.io" || into.Host == "" && strings.HasSuffix(into.Address, ".docker.io") {
		into.Host, into.Address = "docker.io", "" // which the address is known of
	}
	if into.Host == "" {
		into.Host = into.Address
	}
	if e.Default.value && into.Host != "docker.io" {
		r.unused = append(r.unused, Problem{Line: e.Default.line, Text: at + ".default means nothing here: an image without a host is of docker.io, as a cluster pulls it"})
	}
	if into.Host != "" && !isHost(into.Host) {
		r.problem(max(e.Prefix.line, e.Line), "for example: harbor.example.com", "%s.prefix: %q is no host", at, into.Host)
	}
	if first := hosts[strings.ToLower(into.Host)]; first > 0 && into.Host != "" {
		r.problem(e.Line, "keep one of them", "%s: line %d is for the same registry", at, first)
	}
	hosts[strings.ToLower(into.Host)] = e.Line
	if c := e.Credentials; c.value != "" && !credential.MatchString(c.value) {
		r.problem(c.line, "pullsecret:NAMESPACE/NAME, secret:NAMESPACE/NAME#KEY, env:VARIABLE or ext:/FILE", "%s.credentials is none of the forms", at)
	}
	if e.Limit.line > 0 && (e.Limit.value < 0 || e.Limit.value > maxLimit) {
		r.problem(e.Limit.line, "for example: 20", "%s.limit: %d requests a second", at, e.Limit.value)
	}
	if e.TagSort.value != "" {
		r.unused = append(r.unused, Problem{Line: e.TagSort.line, Text: at + ".tagsortmode means nothing here: policies say how tags are compared"})
	}
	if e.Expire.value != "" {
		r.unused = append(r.unused, Problem{Line: e.Expire.line, Text: at + ".credsexpire means nothing here: a run asks once"})
	}
	return into
}

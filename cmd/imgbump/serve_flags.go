package main

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/reconcile"
	"github.com/ksera524/imgbump/internal/webhook"
	"github.com/spf13/pflag"
)

// httpFlags say what is served over HTTP, and to whom.
type httpFlags struct {
	listen      string
	secretFiles []string
	open        []string
	aliases     []string
	actions     bool
	tokenFile   string

	// By check.
	hooks webhook.Options
	token string
}

func (f *httpFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "listen", ":8080", "`HOST:PORT` to listen on, without TLS: that is the gateway's")
	flags.StringArrayVar(&f.secretFiles, "webhook-secret-file", nil, "the secret of the webhooks of a type, as `TYPE=FILE` (repeatable)")
	flags.StringArrayVar(&f.open, "webhook-open", nil, "take webhooks of a `TYPE` without a secret: anybody can have the registry asked (repeatable)")
	flags.StringArrayVar(&f.aliases, "webhook-alias", nil, "the host that a registry calls itself in webhooks, and the one in manifests: `THERE=HERE` (repeatable)")
	flags.BoolVar(&f.actions, "ui-actions", false, "let people who have a token update, hold and release from the page")
	flags.StringVar(&f.tokenFile, "ui-token-file", "", "`FILE` with the token for --ui-actions (default: IMGBUMP_UI_TOKEN)")
}

// check reads the secrets, and refuses what contradicts itself.
func (f *httpFlags) check(c *cli.Console) (err error) {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return fault.Usagef("for example: --listen 127.0.0.1:8080", "--listen %s is no address", f.listen)
	}
	if f.hooks.Secrets, err = f.secrets(c); err != nil {
		return err
	}
	for _, name := range f.open {
		kind, err := webhook.ParseKind(name)
		if err != nil {
			return err
		}
		f.hooks.Open = append(f.hooks.Open, kind)
	}
	f.hooks.Aliases = map[string]string{}
	for _, pair := range f.aliases {
		there, here, ok := strings.Cut(pair, "=")
		if !ok {
			return fault.Usagef("for example: --webhook-alias core.harbor.svc=harbor.example.com", "--webhook-alias %s is not THERE=HERE", pair)
		}
		f.hooks.Aliases[there] = here
	}
	return f.checkToken(c)
}

// checkToken reads the token for actions.
func (f *httpFlags) checkToken(c *cli.Console) (err error) {
	switch {
	case !f.actions && f.tokenFile != "":
		return fault.Usagef("add --ui-actions", "--ui-token-file is for --ui-actions")
	case !f.actions:
		return nil
	case f.tokenFile == "":
		f.token = c.Getenv("IMGBUMP_UI_TOKEN")
	default:
		if f.token, err = secretIn("--ui-token-file", f.tokenFile); err != nil {
			return err
		}
	}
	switch {
	case f.token == "":
		return fault.Usagef("set IMGBUMP_UI_TOKEN, or name --ui-token-file", "--ui-actions needs a token")
	case strings.TrimSpace(f.token) != f.token:
		return fault.Usagef("take the line's end off", "the token for --ui-actions begins or ends with white space, which nobody types")
	}
	return nil
}

// secrets are those of files, and of the environment for the other kinds.
func (f *httpFlags) secrets(c *cli.Console) (map[webhook.Kind]webhook.Secret, error) {
	all := map[webhook.Kind]webhook.Secret{}
	for _, kind := range webhook.Kinds() {
		if secret := c.Getenv("IMGBUMP_WEBHOOK_SECRET_" + variable(string(kind))); secret != "" {
			all[kind] = webhook.Secret(secret)
		}
	}
	for _, pair := range f.secretFiles {
		name, file, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fault.Usagef("for example: --webhook-secret-file harbor=/run/secrets/harbor", "--webhook-secret-file %s is not TYPE=FILE", pair)
		}
		kind, err := webhook.ParseKind(name)
		if err != nil {
			return nil, err
		}
		secret, err := secretIn("--webhook-secret-file", file)
		if err != nil {
			return nil, err
		}
		all[kind] = webhook.Secret(secret)
	}
	return all, nil
}

// variable is a kind as a part of a variable's name.
func variable(kind string) string {
	return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(kind))
}

// received are the types of webhooks that are taken.
func (f *httpFlags) received() []webhook.Kind {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(f.hooks.Secrets)), f.hooks.Open...)))
}

// webhooks is the receiver of what registries tell.
func (f *httpFlags) webhooks(c *cli.Console, s *service) (http.Handler, error) {
	o := f.hooks
	o.Secrets = maps.Clone(o.Secrets)
	o.Log = s.log
	o.Observe = func(kind webhook.Kind, outcome string) { s.metrics.Webhook(string(kind), outcome) }
	o.Notify = func(e webhook.Event) bool { return s.loop.Push(reconcile.Event{Image: e.Image, At: e.At}) }
	return webhook.New(o)
}

// leaseFlags say which of several replicas writes.
type leaseFlags struct {
	name, identity, address string
}

func (f *leaseFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "lease", "", "let one of several replicas write: the one that holds the Kubernetes Lease `NAMESPACE/NAME`")
	flags.StringVar(&f.identity, "identity", "", "`NAME` of this replica in the Lease (default: POD_NAME, else the host's)")
	flags.StringVar(&f.address, "address", "", "`URL` at which other replicas reach this one (default: POD_IP and the port of --listen)")
}

// check completes the flags.
func (f *leaseFlags) check(c *cli.Console, listen string) error {
	switch {
	case f.name == "" && (f.identity != "" || f.address != ""):
		return fault.Usagef("add --lease", "--identity and --address are for --lease")
	case f.name == "":
		return nil
	}
	if _, err := kube.ParseName(f.name); err != nil {
		return fault.Usagef("for example: --lease imgbump/imgbump", "--lease: %w", err)
	}
	if f.identity = cmp.Or(f.identity, c.Getenv("POD_NAME")); f.identity == "" {
		f.identity, _ = os.Hostname()
	}
	if ip := c.Getenv("POD_IP"); f.address == "" && ip != "" {
		_, port, _ := net.SplitHostPort(listen)
		f.address = "http://" + net.JoinHostPort(ip, port)
	}
	if f.identity == "" || f.address == "" {
		return fault.Usagef("set POD_NAME and POD_IP from the pod's fields, or name them", "--lease needs --identity and --address")
	}
	if replicaAt(f.address) == nil {
		return fault.Usagef("for example: --address http://10.0.0.7:8080", "--address %s is not where other replicas could reach this one", fault.Address(f.address))
	}
	return nil
}

// open is the election, nil without one.
func (f *leaseFlags) open(c *cli.Console, log *slog.Logger) (func(ctx context.Context, changed func(leads bool, holder, address string)) error, error) {
	if f.name == "" {
		return nil, nil
	}
	name, err := kube.ParseName(f.name)
	if err != nil {
		return nil, err
	}
	cluster, err := kube.Open(c.Getenv, c.Agent())
	if err != nil {
		return nil, err
	}
	return kube.Election{Cluster: cluster, Lease: name, Identity: f.identity, Address: f.address, Log: log}.Run, nil
}

package github

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

// App is a GitHub App that is installed where we commit. ID is its number or its client ID, Key the PEM file with its
// private key as GitHub makes it (PKCS #1), or PKCS #8.
type App struct {
	ID  string
	Key []byte
}

// GitHub takes a signed claim for ten minutes at most, and none from the future
// (docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
const (
	claimBegins = -time.Minute
	claimEnds   = 9 * time.Minute
	skewed      = time.Minute
)

const hintKey = "name the .pem file that GitHub gives under the App's settings, Private keys"

// AppToken is a token of the App for one repository, to commit and to open pull requests with; it finds the App's
// installation itself. options.Token is not used. A key that cannot be read is an error of kind Usage, an App that the
// server does not know or that lacks a permission one of kind Denied.
func AppToken(ctx context.Context, options Options, app App, owner, repository string) (token string, expires time.Time, err error) {
	options.TokenName = "the App " + app.ID
	if options.Token, err = app.claim(time.Now()); err != nil {
		return "", time.Time{}, err
	}
	c, err := New(options)
	if err != nil {
		return "", time.Time{}, err
	}
	where := owner + "/" + repository
	installation, answer, err := c.api.Apps.FindRepositoryInstallation(ctx, owner, repository)
	if err == nil {
		err = usable(installation)
	}
	if err != nil {
		return "", time.Time{}, c.explainApp(ctx, where, answer, err)
	}
	wanted := &github.InstallationPermissions{Contents: github.String("write")}
	if installation.GetPermissions().GetPullRequests() == "write" {
		wanted.PullRequests = github.String("write")
	}
	made, answer, err := c.api.Apps.CreateInstallationToken(repeatable(ctx), installation.GetID(),
		&github.InstallationTokenOptions{Repositories: []string{repository}, Permissions: wanted})
	if err != nil {
		return "", time.Time{}, c.explainApp(ctx, where, answer, err)
	}
	return made.GetToken(), made.GetExpiresAt().Time, nil
}

// usable reports why an installation is of no use.
func usable(installation *github.Installation) error {
	switch {
	case installation.SuspendedAt != nil:
		return &fault.Error{Kind: fault.Denied, Err: errors.New("its installation is suspended"), Hint: "an owner can lift that under Settings, GitHub Apps"}
	case installation.GetPermissions().GetContents() != "write":
		return &fault.Error{Kind: fault.Denied, Err: errors.New("its installation lacks the permission to write contents"),
			Hint: "give the App \"Contents: Read and write\" (and \"Pull requests\" for --pr); an owner then accepts it under Settings, GitHub Apps"}
	}
	return nil
}

// explainApp says why the App got no token: its clock, its key or ID, or where it is installed.
func (c *Client) explainApp(ctx context.Context, where string, answer *github.Response, err error) error {
	doing := deed{"get a token of " + c.tokenName + " for", where, contents}
	explained := c.explain(ctx, doing, err)
	if _, ok := errors.AsType[*github.ErrorResponse](err); !ok || answer == nil {
		return explained
	}
	f := &fault.Error{Kind: fault.Denied, What: doing.what, Where: where}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		f.Err, f.Hint = fmt.Errorf("%s does not accept its signature", c.host), "the key must be one of this App, and the ID the App's own or its client ID, not the installation's"
		ahead := c.patient.now().Sub(serverTime(answer.Response, c.patient.now()))
		if ahead.Abs() > skewed {
			f.Err = fmt.Errorf("this machine's clock and that of %s are %v apart", c.host, ahead.Abs().Round(time.Minute))
			f.Hint = "set this machine's clock"
		}
	case http.StatusNotFound:
		f.Err = fmt.Errorf("it is not installed there, or there is no such repository on %s", c.host)
		f.Hint = "install the App on the repository: the App's settings, Install App"
	default:
		return explained
	}
	return f
}

// claim is a JSON web token by which the App proves itself (RFC 7519, signed by RS256 of RFC 7518).
func (a App) claim(now time.Time) (string, error) {
	key, err := a.key()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(map[string]any{"iat": now.Add(claimBegins).Unix(), "exp": now.Add(claimEnds).Unix(), "iss": a.ID})
	if err != nil {
		return "", fmt.Errorf("write the claim of the App %s: %w", a.ID, err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fault.Usagef(hintKey, "the key of the App %s cannot sign: %w", a.ID, err)
	}
	return text + "." + encode(signature), nil
}

// key reads the private key. An error never quotes it.
func (a App) key() (*rsa.PrivateKey, error) {
	if a.ID == "" {
		return nil, fault.Usagef("it is on the App's settings page, as is its client ID", "a GitHub App needs its ID")
	}
	block, _ := pem.Decode(a.Key)
	if block == nil {
		return nil, fault.Usagef(hintKey, "the key of the App %s is no PEM file", a.ID)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, ok := parsed.(*rsa.PrivateKey); ok {
			return key, nil
		}
	}
	return nil, fault.Usagef(hintKey, "the key of the App %s is no private RSA key (%s)", a.ID, printable(block.Type))
}

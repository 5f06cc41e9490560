package repo

import (
	"regexp"
	"strings"
)

// bot is the author that GitHub shows with the Actions logo; 41898282 is the account of the Actions app.
var bot = Signature{"github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"}

// author is who makes our commits: the one asked for, else git's own identity, else the runner's or our own name.
func (r *Repo) author() Signature {
	if r.options.Author != (Signature{}) {
		return r.options.Author
	}
	who := Signature{r.config.value("user", "", "name"), r.config.value("user", "", "email")}
	switch {
	case who.Name != "" && who.Email != "":
		return who
	case r.options.Getenv("GITHUB_ACTIONS") == "true":
		return bot
	}
	return Signature{"imgbump", "imgbump@localhost"}
}

// warnOfSigning says once that our commits are not signed, where git's would be.
func (r *Repo) warnOfSigning() {
	if on := strings.ToLower(r.config.value("commit", "", "gpgsign")); on == "true" || on == "yes" || on == "on" || on == "1" {
		r.signing.Do(func() {
			r.options.Warn("git's commit.gpgsign asks for signed commits, which is not supported yet: ours is not signed")
		})
	}
}

var trailer = regexp.MustCompile(`^[A-Za-z0-9-]+: `)

// signedOff ends a message with a Signed-off-by line, in the block of trailers when there is one.
func signedOff(message string, who Signature) string {
	message = strings.TrimRight(message, "\n")
	last := message[strings.LastIndexByte(message, '\n')+1:]
	if strings.Contains(message, "\n\n") && trailer.MatchString(last) {
		message += "\n"
	} else {
		message += "\n\n"
	}
	return message + "Signed-off-by: " + who.Name + " <" + who.Email + ">"
}

package repo

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

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// bindApplications binds the flag of verbs that can be limited to what Argo CD deploys as one.
func bindApplications(flags *pflag.FlagSet, applications *[]string) {
	flags.StringArrayVar(applications, "application", nil, "limit it to what the Argo CD application `NAME` deploys, as its manifest in the tree says (repeatable)")
}

// placeOf is where a folder lies in its git repository, as far as the checkout tells.
func placeOf(c *cli.Console, dir, remote string) argocd.Place {
	checkout, err := repo.Open(dir, repo.Options{Getenv: c.Getenv})
	if err != nil {
		return argocd.Place{}
	}
	defer checkout.Close()
	prefix, err := checkout.Prefix(dir)
	if err != nil {
		return argocd.Place{}
	}
	address, _ := checkout.Address(remote) // one without a remote is nobody's in particular
	return argocd.Place{Repository: address, Prefix: prefix, Branch: checkout.Local().Name()}
}

// applicationsShown is how many applications a table names at one place.
const applicationsShown = 3

// few are the first of some names.
func few(names string) string {
	all := strings.Split(names, ", ")
	if more := len(all) - applicationsShown; more > 0 {
		all = append(all[:applicationsShown], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ")
}

// distinct are the different values of something about applications, in their order.
func distinct(owners []argocd.Owner, of func(argocd.Owner) string) string {
	var all []string
	for _, o := range owners {
		if v := of(o); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return strings.Join(all, ", ")
}

func wave(o argocd.Owner) string { return strconv.Itoa(o.Wave) }

func revision(o argocd.Owner) string { return o.Revision }

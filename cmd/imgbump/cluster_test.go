package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/kubetest"
)

// clusterServe, as cluster-serve HOST, starts an API server and sets KUBECONFIG. Its Secret arc-systems/harbor-auth has the
// login for Harbor at HOST; the account may not read any other.
func clusterServe(ts *testscript.TestScript, neg bool, args []string) {
	s := kubetest.New(kubetest.Config{
		Accounts: []kubetest.Account{{User: "system:serviceaccount:arc-runners:runner", Token: "T0kenOfTheRunner", May: []string{"arc-systems/harbor-auth"}}},
		Secrets: map[string]kubetest.Secret{"arc-systems/harbor-auth": {Data: map[string]string{
			"HARBOR_USERNAME": robot, "HARBOR_PASSWORD": robotPassword, "HARBOR_URL": "http://" + args[0], "HARBOR_PROJECT": "team",
		}}},
	})
	ts.Defer(s.Close)
	ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), []byte(s.Kubeconfig("T0kenOfTheRunner")), 0o600))
	ts.Setenv("KUBECONFIG", ts.MkAbs("kubeconfig"))
}

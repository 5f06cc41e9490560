package harbor

import (
	"context"
	"net/http"
)

// Scanned is what the last scan of an artifact found, the gravest first; scanned is false when there was none that went
// through. No scan is begun.
func (c *Client) Scanned(ctx context.Context, repository, reference string) (report Report, scanned bool, err error) {
	path, where := artifactPath(repository, reference), name(repository, reference)
	var d document
	_, err = c.send(ctx, call{what: "read the scan of", where: where, method: http.MethodGet, path: path,
		query: map[string][]string{"with_scan_overview": {"true"}}, header: accepted, into: &d, expect: http.StatusOK})
	if err != nil || best(d.Overview).Status != "Success" {
		return Report{}, false, err
	}
	report, err = c.report(ctx, path, where)
	return report, err == nil, err
}

// Package trust reads which certificate authorities are trusted: the system's, and those of a file beside them.
package trust

import (
	"crypto/x509"
	"os"

	"github.com/ksera524/imgbump/internal/fault"
)

// Roots are the system's authorities and those of a PEM file; nil, which is the system's alone, when file is "".
// An error is of kind fault.Usage and names the file.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Usagef("name a file of PEM certificates", "read certificate authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault.Usagef("a file of PEM certificates has -----BEGIN CERTIFICATE-----", "%s holds no certificate", file)
	}
	return roots, nil
}

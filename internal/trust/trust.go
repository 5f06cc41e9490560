// Package trust reads which certificate authorities are trusted: the system's, and further ones beside them.
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
	return With(nil, pem, file)
}

// With is roots, nil for the system's, and the authorities in pem. An error is of kind fault.Usage and names where pem
// is from.
func With(roots *x509.CertPool, pem []byte, where string) (*x509.CertPool, error) {
	var err error
	if roots == nil {
		roots, err = x509.SystemCertPool()
	}
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault.Usagef("PEM certificates have -----BEGIN CERTIFICATE-----", "%s holds no certificate", where)
	}
	return roots, nil
}

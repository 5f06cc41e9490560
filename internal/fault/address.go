package fault

import "net/url"

// Address is an address as a message may tell it: without a login, and without what a query says, for either may be a secret.
func Address(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User == nil && u.RawQuery == "" {
		return address
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.String()
}

package catalog

import (
	"errors"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
)

// Down reports whether err, an answer to a question, may be what the registry answers to each: not where it says that the
// repository is missing, or that the account must not read it.
func (c *Catalog) Down(err error) bool {
	var project *registry.MissingProject
	return !errors.Is(err, registry.ErrNotFound) && !errors.As(err, &project) && fault.KindOf(err) != fault.Denied
}

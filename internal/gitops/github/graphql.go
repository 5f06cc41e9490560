package github

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// queryError is one of the errors in a GraphQL answer. Type is GitHub's; Extensions.Code is set when the server does not
// know what the query asks for, so that nothing was done.
type queryError struct {
	Type       string
	Message    string
	Extensions struct{ Code string }
}

type queryErrors []queryError

func (e queryErrors) Error() string {
	var said []string
	for _, one := range e {
		said = append(said, one.Message)
	}
	return strings.Join(said, "; ")
}

// is reports whether one of the errors has one of the types.
func (e queryErrors) is(types ...string) bool {
	return slices.ContainsFunc(e, func(one queryError) bool { return slices.Contains(types, one.Type) })
}

// query sends a GraphQL query and reads what it asks for into data. A refusal is a queryErrors.
func (c *Client) query(ctx context.Context, text string, variables map[string]any, data any) error {
	request, err := c.api.NewRequest(http.MethodPost, c.graphQL, map[string]any{"query": text, "variables": variables})
	if err != nil {
		return err
	}
	answer := struct {
		Data   any
		Errors queryErrors
	}{Data: data}
	if _, err = c.api.Do(repeatable(ctx), request, &answer); err == nil && len(answer.Errors) > 0 {
		err = answer.Errors
	}
	return err
}

// unknown reports whether a query failed because the server has no such thing: an older GitHub Enterprise Server, or one
// with GitHub's REST API only.
func unknown(err error) bool {
	if refusals, ok := errors.AsType[queryErrors](err); ok {
		return slices.ContainsFunc(refusals, func(e queryError) bool {
			return slices.Contains([]string{"undefinedField", "undefinedType", "variableRequiresValidType"}, e.Extensions.Code)
		})
	}
	refusal, ok := errors.AsType[*github.ErrorResponse](err)
	return ok && refusal.Response.StatusCode == http.StatusNotFound
}

package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/websocket"
)

// Command is a command that runs in a pod.
type Command struct {
	Container      string
	Args           []string
	Input          io.Reader
	Output, Errors io.Writer
}

// exec runs a command in a pod with its streams on a WebSocket, each message after the number of its channel
// (kubernetes, pkg/util/remotecommand).
func (s *Server) exec(w http.ResponseWriter, r *http.Request, account Account, namespace, name string) {
	run, there := s.config.Pods[namespace+"/"+name]
	switch {
	case account.User != Administrator && !slices.Contains(account.May, namespace+"/"+name):
		refuse(w, http.StatusForbidden, "Forbidden", fmt.Sprintf(
			`pods %q is forbidden: User %q cannot get resource "pods/exec" in API group "" in the namespace %q`, name, account.User, namespace), name)
		return
	case !there:
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", name), name)
		return
	}
	query := r.URL.Query()
	server := websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			if !slices.Contains(c.Protocol, "v5.channel.k8s.io") {
				return fmt.Errorf("protocols %s", strings.Join(c.Protocol, " "))
			}
			c.Protocol = []string{"v5.channel.k8s.io"}
			return nil
		},
		Handler: func(conn *websocket.Conn) {
			input, fill := io.Pipe()
			go func() {
				for {
					var m []byte
					if err := websocket.Message.Receive(conn, &m); err != nil {
						fill.CloseWithError(io.EOF)
						return
					}
					if len(m) > 0 && m[0] == 0 {
						_, _ = fill.Write(m[1:])
					}
				}
			}()
			err := run(Command{Container: query.Get("container"), Args: query["command"], Input: input, Output: channel{conn, 1}, Errors: channel{conn, 2}})
			status := map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Success"}
			if err != nil {
				status["status"], status["message"] = "Failure", err.Error()
			}
			_ = json.NewEncoder(channel{conn, 3}).Encode(status)
		},
	}
	server.ServeHTTP(w, r)
}

// channel is one stream of a command.
type channel struct {
	conn   *websocket.Conn
	number byte
}

func (c channel) Write(p []byte) (int, error) {
	if err := websocket.Message.Send(c.conn, append([]byte{c.number}, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

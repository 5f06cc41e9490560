package openssh

import (
	"io"
	"testing"

	"golang.org/x/crypto/ssh"
)

// dying is a connection that ends while a channel is asked for, which nobody answers then.
type dying struct{ ssh.Conn }

func (dying) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) { select {} }
func (dying) Wait() error                                                          { return io.EOF }

func TestConnectionEndsInBetween(t *testing.T) {
	if _, err := connected(&ssh.Client{Conn: dying{}}).NewSession(); err != errClosed {
		t.Errorf("err %v", err)
	}
}

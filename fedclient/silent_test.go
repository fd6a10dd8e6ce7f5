package fedclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// silent is a server that answers every request with 101 and then says nothing.
const silent = "8.0.0.1:8448"

// withSilent returns an internet in which it is.
func withSilent(t *testing.T) *internet.Network {
	t.Helper()
	n := internet.New(t)
	n.Listen(silent, []string{"8.0.0.1"}, "http/1.1", func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-t.Context().Done()
	})
	return n
}

// After a 101 the body is the connection, which does not end with the context.
func TestSwitchingProtocolsIsAnAnswerWithoutABody(t *testing.T) {
	n := withSilent(t)
	transport := n.Transport(nil)
	client, guarded := newClient(t, transport), transport.Dialer().HTTPTransport(&tls.Config{RootCAs: n.Roots})
	defer guarded.CloseIdleConnections()
	us, rules := invitetest.Signer("a.ex"), rulesOf(t, fedinvite.RoomV11)
	for name, ask := range map[string]func(context.Context) error{
		"keys": func(ctx context.Context) error {
			_, err := client.FetchServerKeys(ctx, silent)
			return err
		},
		"invite": func(ctx context.Context) error {
			_, err := client.SendInvite(ctx, fedclient.InviteRequest{
				Event: inviteFor("@b:"+silent, us, rules), Signer: us, Keys: fedinvite.KeyMap{},
			})
			return err
		},
		"key validity": func(ctx context.Context) error {
			_, err := fedclient.KeyValid(&http.Client{Transport: guarded})(ctx, "https://"+silent+"/x", "k")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- ask(ctx) }()
			select {
			case err := <-result:
				var remote *fedclient.RemoteError
				if !errors.As(err, &remote) || remote.Status != http.StatusSwitchingProtocols || fedclient.Retryable(err) {
					t.Errorf("got %v", err)
				}
				told(t, err, 502, "M_UNKNOWN")
			case <-ctx.Done():
				t.Fatal("it hangs")
			}
		})
	}
}

// The invited server may have taken the invite before it said something odd.
func TestMaybeSeenAfterSwitchingProtocols(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	s.config.Client = newClient(t, withSilent(t).Transport(nil))
	_, err := s.invite("@b:" + silent)
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || !failed.MaybeSeen {
		t.Errorf("got %#v (%v)", failed, err)
	}
}

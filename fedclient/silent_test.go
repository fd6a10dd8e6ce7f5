package fedclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// switches is a server that answers every request with 101 and then says nothing, and what
// trusts it.
func switches(t *testing.T) (fedinvite.ServerName, *x509.CertPool) {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	certificate, leaf := lender.TLS.Certificates[0], lender.Certificate()
	lender.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() { close(over); _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
				<-over
			}()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return fedinvite.ServerName(listener.Addr().String()), roots
}

// After a 101 the body is the connection, which does not end with the context.
func TestSwitchingProtocolsIsAnAnswerWithoutABody(t *testing.T) {
	server, roots := switches(t)
	transport := newTransport(t, roots)
	client, guarded := newClient(t, transport), transport.Dialer().HTTPTransport(&tls.Config{RootCAs: roots})
	defer guarded.CloseIdleConnections()
	us, rules := invitetest.Signer("a.ex"), rulesOf(t, fedinvite.RoomV11)
	for name, ask := range map[string]func(context.Context) error{
		"keys": func(ctx context.Context) error {
			_, err := client.FetchServerKeys(ctx, server)
			return err
		},
		"invite": func(ctx context.Context) error {
			_, err := client.SendInvite(ctx, fedclient.InviteRequest{
				Event: inviteFor("@b:"+string(server), us, rules), Signer: us, Keys: fedinvite.KeyMap{},
			})
			return err
		},
		"key validity": func(ctx context.Context) error {
			_, err := fedclient.KeyValid(&http.Client{Transport: guarded})(ctx, "https://"+string(server)+"/x", "k")
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
	server, roots := switches(t)
	s := newStage(t, fedinvite.RoomV11)
	s.config.Client = newClient(t, newTransport(t, roots))
	_, err := s.invite("@b:" + string(server))
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || !failed.MaybeSeen {
		t.Errorf("got %#v (%v)", failed, err)
	}
}

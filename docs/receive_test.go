package docs_test

// book: receive.md
import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// book: end

// book: receive.md
// loadSigner reads the signing key of one of our servers.
func loadSigner(name fedinvite.ServerName, file string) (fedinvite.Signer, error) {
	line, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	id, key, err := fedinvite.ParseSigningKey(string(line))
	if err != nil {
		return nil, err
	}
	return fedinvite.NewSigner(name, id, key)
}

// book: end

// book: receive.md
// A federation is what all endpoints share. There is one in a process.
type federation struct {
	local  keyring.Local     // our names and keys
	client *fedclient.Client // requests to other servers
	ring   *keyring.Ring     // their keys
}

// newFederation returns one. A nil transport finds servers as the specification says, and
// connects to public addresses only. store keeps keys over a restart; nil: none does.
func newFederation(local keyring.Local, transport http.RoundTripper, store keyring.Store) (*federation, error) {
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
	if err != nil {
		return nil, err
	}
	ring, err := keyring.New(keyring.Config{Fetcher: client, Local: local, Store: store})
	return &federation{local, client, ring}, err
}

// receiverConfig is enough for a Receiver that accepts every valid invite.
func (f *federation) receiverConfig(handler fedinvite.Handler) fedinvite.Config {
	return fedinvite.Config{
		Signer:      f.local.Signer,
		Keys:        f.ring,
		Credentials: xmatrix.Verifier{Keys: f.ring}.Credentials,
		Handler:     handler,
	}
}

// book: end

// book: receive.md
// routes has the endpoints: invites, and our keys, without which nobody believes us.
func (f *federation) routes(c fedinvite.Config) (*http.ServeMux, error) {
	receiver, err := fedinvite.NewReceiver(c)
	if err != nil {
		return nil, err
	}
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: f.local})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)
	mux.Handle("/_matrix/key/v2/", publish)
	mux.HandleFunc("GET /_matrix/federation/v1/version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"server":{"name":"example","version":"1.0"}}`)
	})
	mux.HandleFunc("/_matrix/", func(w http.ResponseWriter, _ *http.Request) { // whatever we do not know
		fedinvite.WriteError(w, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound, Message: "Unrecognized request"})
	})
	return mux, nil
}

// book: end

// book: receive.md
// newHTTPServer returns the server for the routes. proxies are the addresses of our reverse
// proxies.
func newHTTPServer(address string, routes http.Handler, proxies ...netip.Prefix) *http.Server {
	return &http.Server{
		Addr:              address,
		Handler:           ratelimit.ForwardedFor(routes, proxies...),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second, // more than Config.Timeout and the Handler take
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// book: end

// book: receive.md
// announce takes every invite, and forgets it.
func announce(_ context.Context, inv *fedinvite.Invite) error {
	slog.Info("invited", "inviter", inv.Event.Sender(), "invitee", inv.Invitee, "room", inv.Event.RoomID())
	return nil
}

// book: end

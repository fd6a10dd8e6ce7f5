package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	keysPath    = "/_matrix/key/v2/server"
	versionPath = "/_matrix/federation/v1/version"
)

// A homeserver is what one has to be in order to receive invites: it publishes its
// keys, tells its version, and checks, signs and answers invites.
type homeserver struct {
	publish  *keyring.PublishHandler
	receiver *fedinvite.Receiver
}

// A doneFunc is told of each delivery; see [fedinvite.Config].
type doneFunc = func(ctx context.Context, d *fedinvite.Delivery, inv *fedinvite.Invite, err error)

// newHomeserver returns the homeserver in whose name o sends.
func newHomeserver(o *outbound, block blockList, done doneFunc) (*homeserver, error) {
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{
		Local:   o.local,
		Now:     time.Now,
		Default: o.name(),
	})
	if err != nil {
		return nil, err
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      o.local.Signer,
		Keys:        o.keys,
		Handler:     fedinvite.HandlerFunc(store),
		Credentials: xmatrix.Verifier{Keys: o.keys, Now: time.Now, Assume: o.name()}.Credentials,
		Admit:       block.admit,
		Policy:      block.policy,
		Done:        done,
	})
	if err != nil {
		return nil, err
	}
	return &homeserver{publish, receiver}, nil
}

// store is where a real homeserver would store an invite.
func store(context.Context, *fedinvite.Invite) error { return nil }

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == keysPath, strings.HasPrefix(path, keysPath+"/"):
		h.publish.ServeHTTP(w, r)
	case path == versionPath:
		version(w, r)
	default:
		h.receiver.ServeHTTP(w, r) // also answers for endpoints that do not exist
	}
}

func version(w http.ResponseWriter, r *http.Request) {
	status, body := http.StatusOK, any(object{"server": object{"name": "fedinvite", "version": moduleVersion()}})
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		status, body = http.StatusMethodNotAllowed, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Message: "use GET"}
	}
	writeJSON(w, status, body)
}

// moduleVersion is what the build knows of it.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return strings.Trim(info.Main.Version, "()") // "(devel)" would be a comment in a User-Agent
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a peer that hung up wants no answer
}

// newServer returns a server with the timeouts of one that strangers talk to.
func newServer(h http.Handler, cert tls.Certificate, messages io.Writer) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(messages, "fedinvite: ", 0),
	}
}

// drainTimeout is how long requests may take to end once a server is to stop.
const drainTimeout = 15 * time.Second

// serve answers requests until ctx is done and those under way have been answered.
func serve(ctx context.Context, l net.Listener, srv *http.Server) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		_ = srv.Close()
		return fmt.Errorf("requests were still under way: %w", err)
	}
	return nil
}

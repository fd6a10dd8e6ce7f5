package main

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	keysPath        = "/_matrix/key/v2/server"
	versionPath     = "/_matrix/federation/v1/version"
	makeLeavePath   = "/_matrix/federation/v1/make_leave/"
	sendLeavePath   = "/_matrix/federation/v2/send_leave/"
	sendLeaveV1Path = "/_matrix/federation/v1/send_leave/"
	transactionPath = "/_matrix/federation/v1/send/"
)

// A homeserver is what one has to be for the whole life of an invite: it publishes its
// keys, tells its version, and takes invites, what ends them, and the leaves of those
// who decline ours.
type homeserver struct {
	publish      *keyring.PublishHandler
	receiver     *fedinvite.Receiver
	leaves       *fedserver.Leaves
	transactions *fedserver.Transactions
}

// A witness is told what happens to a homeserver, once it is stored.
type witness interface {
	// received is told of each invite, accepted or refused; see Done of [fedinvite.Config].
	received(ctx context.Context, d *fedinvite.Delivery, inv *fedinvite.Invite, err error)
	// declined is told of each leave by which a user declines an invite of ours.
	declined(leave *fedinvite.Event)
	// takenBack is told of each leave that takes an invite back, and of the invite.
	takenBack(leave, invite *fedinvite.Event)
}

// newHomeserver returns the homeserver in whose name o sends.
func newHomeserver(o *outbound, kept store, d door, w witness) (*homeserver, error) {
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{
		Local:   o.local,
		Now:     time.Now,
		Default: o.name(),
	})
	if err != nil {
		return nil, err
	}
	credentials := xmatrix.Verifier{Keys: o.keys, Now: time.Now, Assume: o.name()}.Credentials
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      o.local.Signer,
		Keys:        o.keys,
		Handler:     fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error { return kept.hold(inv.Event) }),
		Credentials: credentials,
		Admit:       d.admit,
		Policy:      d.policy(),
		Done:        w.received,
	})
	if err != nil {
		return nil, err
	}
	endpoint := fedserver.Endpoint{Signer: o.local.Signer, Keys: o.keys, Credentials: credentials, Now: time.Now}
	leaves, err := newLeaves(endpoint, kept, w)
	if err != nil {
		return nil, err
	}
	transactions, err := newTransactions(endpoint, kept, w)
	return &homeserver{publish, receiver, leaves, transactions}, err
}

func newLeaves(endpoint fedserver.Endpoint, kept store, w witness) (*fedserver.Leaves, error) {
	return fedserver.NewLeaves(fedserver.LeavesConfig{
		Endpoint: endpoint,
		Room:     kept,
		HandleLeave: func(_ context.Context, leave *fedinvite.Event) error {
			added, err := kept.add(leave)
			if added { // else it was sent again
				w.declined(leave)
			}
			return err
		},
	})
}

func newTransactions(endpoint fedserver.Endpoint, kept store, w witness) (*fedserver.Transactions, error) {
	return fedserver.NewTransactions(fedserver.TransactionsConfig{
		Endpoint: endpoint,
		Invite: func(_ context.Context, origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
			return kept.heldFrom(origin, roomID, userID)
		},
		HandleRescission: func(_ context.Context, leave, invite *fedinvite.Event) error {
			dropped, err := kept.drop(invite)
			if dropped {
				w.takenBack(leave, invite)
			}
			return err
		},
	})
}

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == keysPath, strings.HasPrefix(path, keysPath+"/"):
		h.publish.ServeHTTP(w, r)
	case path == versionPath:
		version(w, r)
	case strings.HasPrefix(path, makeLeavePath),
		strings.HasPrefix(path, sendLeavePath), strings.HasPrefix(path, sendLeaveV1Path):
		h.leaves.ServeHTTP(w, r)
	case strings.HasPrefix(path, transactionPath):
		h.transactions.ServeHTTP(w, r)
	default:
		h.receiver.ServeHTTP(w, r) // also answers for endpoints that do not exist
	}
}

func version(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fedinvite.WriteError(w, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusMethodNotAllowed, Message: "use GET"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A peer that hung up wants no answer.
	_ = json.NewEncoder(w).Encode(object{"server": object{"name": "fedinvite", "version": moduleVersion()}})
}

// moduleVersion is what the build knows of it.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return strings.Trim(info.Main.Version, "()") // "(devel)" would be a comment in a User-Agent
}

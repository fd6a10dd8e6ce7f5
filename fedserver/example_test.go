package fedserver_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A store is what a homeserver has to bring. This one has no rooms and no invites.
type store struct{}

func (store) Snapshot(_ context.Context, _ string, _ []eventauth.StateKey) (*fedclient.Snapshot, error) {
	return nil, fedinvite.Refuse(fedinvite.CodeNotFound, "no such room")
}

func (store) Invite(_ context.Context, _ fedinvite.ServerName, _, _ string) (*fedinvite.Event, error) {
	return nil, nil
}

func (store) StoreEvent(_ context.Context, _ *fedinvite.Event) error { return nil }

func (s store) StoreInvite(ctx context.Context, inv *fedclient.Invited) error {
	return s.StoreEvent(ctx, inv.Event)
}

func (store) RemoveInvite(_ context.Context, _, _ *fedinvite.Event) error { return nil }

// ReceiveEvent checks and stores an event of a room. A server that is in no room has none.
func (store) ReceiveEvent(_ context.Context, _ fedserver.Request, _ string, _ json.RawMessage) (string, error) {
	return "", fedinvite.Refuse(fedinvite.CodeNotFound, "no such room")
}

// newHandler mounts everything for the servers of local.
func newHandler(local keyring.Local, keys fedinvite.KeySource, s store) (http.Handler, error) {
	endpoint := fedserver.Endpoint{
		Signer:      local.Signer,
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys}.Credentials,
		Done: func(r *http.Request, req fedserver.Request, err error) {
			fmt.Println("log:", r.Method, "from", req.Origin, "to", req.Destination, "refused:", err != nil)
		},
	}
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1"})
	if err != nil {
		return nil, err
	}
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: client, Keys: keys, Room: s, Signer: local.Signer,
	})
	if err != nil {
		return nil, err
	}
	// With a Transport that does not dial addresses of our own network.
	keyValid := fedclient.KeyValid(&http.Client{Transport: http.DefaultTransport})
	binder := fedserver.Binder{
		Signer: local.Signer, Client: client, Room: s, Inviter: inviter, KeyValid: keyValid, Store: s.StoreInvite,
	}
	leaves, err1 := fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: endpoint, Room: s, HandleLeave: s.StoreEvent})
	exchanges, err2 := fedserver.NewExchanges(fedserver.ExchangesConfig{
		Endpoint: endpoint, Room: s, Inviter: inviter, KeyValid: keyValid, HandleInvite: s.StoreInvite,
	})
	binds, err3 := fedserver.NewBinds(fedserver.BindsConfig{Signer: local.Signer, HandleInvite: binder.Bind})
	transactions, err4 := fedserver.NewTransactions(fedserver.TransactionsConfig{
		Endpoint: endpoint, Invite: s.Invite, HandleRescission: s.RemoveInvite, Next: s.ReceiveEvent,
	})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/make_leave/", leaves)
	mux.Handle("/_matrix/federation/v1/send_leave/", leaves)
	mux.Handle("/_matrix/federation/v2/send_leave/", leaves)
	mux.Handle("/_matrix/federation/v1/exchange_third_party_invite/", exchanges)
	mux.Handle("/_matrix/federation/v1/3pid/onbind", binds)
	mux.Handle("/_matrix/federation/v1/send/", transactions)
	return mux, nil
}

// Two servers of ours in one process, and what another server asks them.
func Example() {
	one, two, other := exampleSigner("one.example"), exampleSigner("two.example"), exampleSigner("other.example")
	keys := fedinvite.KeyMap{} // a keyring.Ring, outside of examples
	keys.Add(other)
	handler, err := newHandler(keyring.Signers(one, two), keys, store{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func(method, target string, to fedinvite.ServerName, body string) {
		r := httptest.NewRequest(method, "/_matrix/federation"+target, bytes.NewReader([]byte(body)))
		if err := xmatrix.Sign(r.Context(), r, []byte(body), to, other); err != nil {
			fmt.Println(err)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	ask("GET", "/v1/make_leave/%21room:one.example/@user:other.example", "one.example", "")
	ask("PUT", "/v1/send/1", "two.example", `{"origin":"other.example","origin_server_ts":1,"pdus":[]}`)
	ask("PUT", "/v1/send/1", "three.example", `{"origin":"other.example","origin_server_ts":1,"pdus":[]}`)
	// Output:
	// log: GET from other.example to one.example refused: true
	// 404 {"errcode":"M_NOT_FOUND","error":"no such room"}
	// log: PUT from other.example to two.example refused: false
	// 200 {"pdus":{}}
	// log: PUT from other.example to three.example refused: true
	// 401 {"errcode":"M_UNAUTHORIZED","error":"request not authenticated: the destination is not served here"}
}

func exampleSigner(name fedinvite.ServerName) fedinvite.Signer {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	s, err := fedinvite.NewSigner(name, "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
	}
	return s
}

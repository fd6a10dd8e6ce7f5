package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A query is a question that a notary was asked: the servers, their key IDs and
// minimum_valid_until_ts.
type query map[fedinvite.ServerName]map[fedinvite.KeyID]int64

// notary signs what an office tells, unless it is said who does.
var notary = invitetest.SignerWithKey("notary.ex", "ed25519:n")

// An office is a NotaryFetcher: notaries that return what they are given.
type office struct {
	t       testing.TB
	mu      sync.Mutex
	returns map[fedinvite.ServerName][]byte // answers, or none: down
	asked   map[fedinvite.ServerName][]query
	answer  func(ctx context.Context, notary fedinvite.ServerName, q query) ([]byte, error) // instead of returns
}

func newOffice(t testing.TB) *office {
	return &office{t: t, returns: map[fedinvite.ServerName][]byte{}, asked: map[fedinvite.ServerName][]query{}}
}

func (o *office) QueryServerKeys(ctx context.Context, notary fedinvite.ServerName, body []byte) ([]byte, error) {
	canonical, err := fedinvite.CanonicalJSON(body)
	if err != nil || string(canonical) != string(body) {
		o.t.Errorf("the question is not canonical: %s, %v", body, err)
	}
	var question struct {
		Keys map[fedinvite.ServerName]map[fedinvite.KeyID]struct {
			Least *int64 `json:"minimum_valid_until_ts"`
		} `json:"server_keys"`
	}
	if err := json.Unmarshal(body, &question); err != nil {
		o.t.Error(err)
	}
	q := query{}
	for server, ids := range question.Keys {
		q[server] = map[fedinvite.KeyID]int64{}
		for id, criteria := range ids {
			if criteria.Least == nil {
				o.t.Errorf("no minimum_valid_until_ts: %s", body)
				continue
			}
			q[server][id] = *criteria.Least
		}
	}
	o.mu.Lock()
	o.asked[notary] = append(o.asked[notary], q)
	raw, ok := o.returns[notary]
	o.mu.Unlock()
	switch {
	case o.answer != nil:
		return o.answer(ctx, notary, q)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, errDown
	}
	return raw, nil
}

// tell has the notary return these documents, each signed by it.
func (o *office) tell(documents ...[]byte) { o.tellAs(notary, documents...) }

func (o *office) tellAs(notary fedinvite.Signer, documents ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.returns[notary.ServerName()] = notarized(notary, documents...)
}

func notarized(notary fedinvite.Signer, documents ...[]byte) []byte {
	signed := make([][]byte, len(documents))
	for i, d := range documents {
		signed[i] = invitetest.Sign(d, notary)
	}
	return answerOf(signed...)
}

// answerOf returns the answer of a notary with these documents as they are.
func answerOf(documents ...[]byte) []byte {
	return append(append([]byte(`{"server_keys":[`), bytes.Join(documents, []byte(","))...), "]}"...)
}

// answer is what the notary tells who has these documents.
func (q query) answer(documents map[fedinvite.ServerName][]byte) []byte {
	var some [][]byte
	for server := range q {
		if d, ok := documents[server]; ok {
			some = append(some, d)
		}
	}
	return notarized(notary, some...)
}

// hang is the answer of a notary that has none.
func hang(ctx context.Context, _ fedinvite.ServerName, _ query) ([]byte, error) {
	stall(ctx)
	return nil, ctx.Err()
}

func (o *office) queries() []query {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked[notary.ServerName()])
}

func (o *office) counted(want int) {
	o.t.Helper()
	if got := len(o.queries()); got != want {
		o.t.Errorf("the notary was asked %d times, want %d", got, want)
	}
}

// newNotaryScene returns a scene with a notary.
func newNotaryScene(t testing.TB, change ...func(c *keyring.Config)) (*scene, *office) {
	t.Helper()
	o := newOffice(t)
	return newScene(t, append(change, withNotaries(o, notary))...), o
}

// withNotaries makes the notaries of the Config: the office asks them, and their keys are
// pinned.
func withNotaries(o *office, signers ...fedinvite.Signer) func(c *keyring.Config) {
	return func(c *keyring.Config) {
		c.NotaryFetcher = o
		for _, s := range signers {
			c.Notaries = append(c.Notaries, keyring.Notary{
				Server: s.ServerName(), Keys: map[fedinvite.KeyID]ed25519.PublicKey{s.KeyID(): s.Public()},
			})
		}
	}
}

func notariesFirst(c *keyring.Config) { c.NotariesFirst = true }

package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

const day = 24 * time.Hour

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A document is the source of a key document.
type document map[string]any

func documentOf(name fedinvite.ServerName, validUntil time.Time, keys ...fedinvite.Signer) document {
	current := map[string]any{}
	for _, s := range keys {
		current[string(s.KeyID())] = entryOf(s)
	}
	return document{"server_name": name, "verify_keys": current, "valid_until_ts": validUntil.UnixMilli()}
}

func entryOf(s fedinvite.Signer) map[string]any {
	return map[string]any{"key": base64.RawStdEncoding.EncodeToString(s.Public())}
}

func expired(s fedinvite.Signer, at time.Time) map[string]any {
	e := entryOf(s)
	e["expired_ts"] = at.UnixMilli()
	return e
}

func (d document) with(name string, value any) document {
	d[name] = value
	return d
}

func (d document) withKey(id string, entry any) document {
	d["verify_keys"].(map[string]any)[id] = entry
	return d
}

func (d document) signed(t testing.TB, signers ...fedinvite.Signer) []byte {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if text, err = fedinvite.SignJSON(t.Context(), text, s); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// A network is a Fetcher: the servers that can be reached, each with its document.
type network struct {
	mu      sync.Mutex
	servers map[fedinvite.ServerName][]byte
	asked   map[fedinvite.ServerName]int
	wait    func(ctx context.Context) // during a fetch
}

var errDown = errors.New("connection refused")

func newNetwork() *network {
	return &network{servers: map[fedinvite.ServerName][]byte{}, asked: map[fedinvite.ServerName]int{}}
}

func (n *network) FetchServerKeys(ctx context.Context, server fedinvite.ServerName) ([]byte, error) {
	n.mu.Lock()
	n.asked[server]++
	raw, ok := n.servers[server]
	wait := n.wait
	n.mu.Unlock()
	if wait != nil {
		wait(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, errDown
	}
	return raw, nil
}

func (n *network) setWait(wait func(ctx context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wait = wait
}

func (n *network) publish(server fedinvite.ServerName, raw []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers[server] = raw; raw == nil {
		delete(n.servers, server)
	}
}

func (n *network) fetches(server fedinvite.ServerName) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[server]
}

// A report is what Config.Report was told.
type report struct {
	server fedinvite.ServerName
	err    error
}

// A scene is a ring, its network and its clock.
type scene struct {
	t       testing.TB
	net     *network
	ring    *keyring.Ring
	mu      sync.Mutex
	now     time.Time
	reports []report
}

func newScene(t testing.TB, change ...func(c *keyring.Config)) *scene {
	t.Helper()
	s := &scene{t: t, net: newNetwork(), now: start}
	c := keyring.Config{Fetcher: s.net, Now: s.clock, Report: s.report}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.ring, err = keyring.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) report(server fedinvite.ServerName, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, report{server, err})
}

// reported demands that as many faults of server were reported since the last call, all
// of which wrap target, and no others.
func (s *scene) reported(server fedinvite.ServerName, want int, target error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reports {
		if r.server != server || !errors.Is(r.err, target) {
			s.t.Errorf("reported of %q: %v", r.server, r.err)
		}
	}
	if len(s.reports) != want {
		s.t.Errorf("%d reports, want %d", len(s.reports), want)
	}
	s.reports = nil
}

// publishKeys has the servers of signers publish these keys, valid for a day from now.
func (s *scene) publishKeys(signers ...fedinvite.Signer) {
	s.t.Helper()
	for _, a := range signers {
		s.net.publish(a.ServerName(), documentOf(a.ServerName(), s.clock().Add(day), a).signed(s.t, a))
	}
}

// publishes has a server publish its key, and returns that.
func (s *scene) publishes(name fedinvite.ServerName) fedinvite.Signer {
	s.t.Helper()
	signer := invitetest.Signer(name)
	s.publishKeys(signer)
	return signer
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// key looks a key up for a request, that is for now.
func (s *scene) key(server fedinvite.ServerName, id fedinvite.KeyID) (fedinvite.VerifyKey, error) {
	return s.ring.VerifyKey(s.t.Context(), server, id, s.clock())
}

// current demands that the key of signer is good for requests.
func (s *scene) current(signer fedinvite.Signer) {
	s.t.Helper()
	key, err := s.key(signer.ServerName(), signer.KeyID())
	if err == nil && (!key.Public.Equal(signer.Public()) || !key.ExpiredAt.IsZero() || !key.ValidAt(s.clock())) {
		err = fmt.Errorf("not current: %+v", key)
	}
	if err != nil {
		s.t.Errorf("%s %s: %v", signer.ServerName(), signer.KeyID(), err)
	}
}

func (s *scene) unknown(server fedinvite.ServerName, id fedinvite.KeyID) {
	s.t.Helper()
	if key, err := s.key(server, id); !errors.Is(err, fedinvite.ErrUnknownKey) {
		s.t.Errorf("%s %s: got %+v, %v, want ErrUnknownKey", server, id, key, err)
	}
}

func (s *scene) outage(server fedinvite.ServerName, id fedinvite.KeyID) {
	s.t.Helper()
	if key, err := s.key(server, id); err == nil || errors.Is(err, fedinvite.ErrUnknownKey) {
		s.t.Errorf("%s %s: got %+v, %v, want an outage", server, id, key, err)
	}
}

func (s *scene) fetched(server fedinvite.ServerName, want int) {
	s.t.Helper()
	if got := s.net.fetches(server); got != want {
		s.t.Errorf("%s was asked %d times, want %d", server, got, want)
	}
}

// A vault is a Store that counts, and that can be made to fail.
type vault struct {
	*keyring.Memory
	mu           sync.Mutex
	loads, saves int
	err          error                     // what both return
	wait         func(ctx context.Context) // during both
}

func newVault() *vault { return &vault{Memory: keyring.NewMemory(0)} }

func (v *vault) count(ctx context.Context, n *int) error {
	v.mu.Lock()
	*n++
	err, wait := v.err, v.wait
	v.mu.Unlock()
	if wait != nil {
		wait(ctx)
	}
	return err
}

func (v *vault) Load(ctx context.Context, servers []fedinvite.ServerName) ([]keyring.Record, error) {
	if err := v.count(ctx, &v.loads); err != nil {
		return nil, err
	}
	return v.Memory.Load(ctx, servers)
}

func (v *vault) Save(ctx context.Context, records []keyring.Record) error {
	if err := v.count(ctx, &v.saves); err != nil {
		return err
	}
	return v.Memory.Save(ctx, records)
}

func (v *vault) counted(t testing.TB, loads, saves int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.loads != loads || v.saves != saves {
		t.Errorf("the Store was loaded from %d times and saved to %d times, want %d and %d", v.loads, v.saves, loads, saves)
	}
}

// A query is a question that a notary was asked: the servers, their key IDs and
// minimum_valid_until_ts.
type query map[fedinvite.ServerName]map[fedinvite.KeyID]int64

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

// tell has notary return these documents, each signed by its signer if there is one.
func (o *office) tell(notary fedinvite.Signer, documents ...[]byte) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.returns[notary.ServerName()] = notarized(o.t, notary, documents...)
}

func notarized(t testing.TB, notary fedinvite.Signer, documents ...[]byte) []byte {
	t.Helper()
	signed := make([][]byte, len(documents))
	for i, d := range documents {
		var err error
		if signed[i], err = fedinvite.SignJSON(t.Context(), d, notary); err != nil {
			t.Fatal(err)
		}
	}
	return answerOf(signed...)
}

// answerOf returns the answer of a notary with these documents as they are.
func answerOf(documents ...[]byte) []byte {
	return append(append([]byte(`{"server_keys":[`), bytes.Join(documents, []byte(","))...), "]}"...)
}

func (o *office) queries(notary fedinvite.ServerName) []query {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked[notary])
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

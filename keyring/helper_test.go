package keyring_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
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
	n.mu.Unlock()
	if n.wait != nil {
		n.wait(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, errDown
	}
	return raw, nil
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

// A scene is a ring, its network and its clock.
type scene struct {
	t    *testing.T
	net  *network
	ring *keyring.Ring
	mu   sync.Mutex
	now  time.Time
}

func newScene(t *testing.T, change ...func(c *keyring.Config)) *scene {
	t.Helper()
	s := &scene{t: t, net: newNetwork(), now: start}
	c := keyring.Config{Fetcher: s.net, Now: s.clock}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.ring, err = keyring.New(c); err != nil {
		t.Fatal(err)
	}
	return s
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

package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

const day = 24 * time.Hour

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// documentOf returns the key document of a server with several keys, which have signed it.
func documentOf(until time.Time, first fedinvite.Signer, others ...fedinvite.Signer) []byte {
	return invitetest.Sign(invitetest.KeyDocument(first, until, invitetest.AddKeys(others...)), others...)
}

// signersOf returns a signer for each of n servers, whose names start with prefix.
func signersOf(prefix string, n int) []fedinvite.Signer {
	signers := make([]fedinvite.Signer, n)
	for i := range signers {
		signers[i] = invitetest.Signer(fedinvite.ServerName(fmt.Sprintf("%s%03d.ex", prefix, i)))
	}
	return signers
}

func namesOf(signers ...fedinvite.Signer) (names []fedinvite.ServerName) {
	for _, s := range signers {
		names = append(names, s.ServerName())
	}
	return names
}

// entryOf is what a document has of a key.
func entryOf(s fedinvite.Signer) invitetest.Object {
	return invitetest.Object{"key": base64.RawStdEncoding.EncodeToString(s.Public())}
}

// expired is what it has of a key that was given up.
func expired(s fedinvite.Signer, at time.Time) invitetest.Object {
	return invitetest.Object{"key": entryOf(s)["key"], "expired_ts": at.UnixMilli()}
}

// unsigned returns a document without its signatures.
func unsigned(document []byte) []byte {
	return invitetest.Change(document, invitetest.Drop("signatures"))
}

func replaced(text []byte, old, new string) []byte {
	return bytes.Replace(text, []byte(old), []byte(new), 1)
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
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

// fails is a Fetcher that gets nothing.
func fails(err error) keyring.Fetcher {
	return keyring.FetcherFunc(func(context.Context, fedinvite.ServerName) ([]byte, error) { return nil, err })
}

// hold has all fetches wait until the channel is closed.
func (n *network) hold() (land chan struct{}) {
	land = make(chan struct{})
	n.setWait(func(context.Context) { <-land })
	return land
}

// stall waits as long as a call may take.
func stall(ctx context.Context) { <-ctx.Done() }

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

// locals are the keys of our servers; those of broken.ex cannot be had.
type locals map[fedinvite.ServerName]keyring.LocalKeys

func (l locals) keys(_ context.Context, server fedinvite.ServerName) (keyring.LocalKeys, error) {
	keys, ours := l[server]
	switch {
	case server == "broken.ex":
		return keys, errDown
	case !ours:
		return keys, fmt.Errorf("%q: %w", server, fedinvite.ErrNotLocal)
	}
	return keys, nil
}

// A gauge measures how much happens at a time.
type gauge struct {
	mu        sync.Mutex
	now, peak int
}

func (g *gauge) during(f func()) {
	g.add(1)
	defer g.add(-1)
	f()
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.peak = max(g.peak, g.now)
}

// most demands that it was as much at most since the last call.
func (g *gauge) most(t testing.TB, want int) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.peak != want {
		t.Errorf("%d at a time, want %d", g.peak, want)
	}
	g.peak = 0
}

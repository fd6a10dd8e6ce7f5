package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// tableFile is the stored table.
const tableFile = "../docs/conformance-synapse.md"

var update = flag.Bool("update", false, "rewrite "+tableFile)

// TestConformance has the conformance suite try Synapse, without the attacks, and compares
// what it finds with the stored table.
func TestConformance(t *testing.T) {
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-2*stopTimeout))
		defer cancel()
	}
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	synapse := newSynapse(t, installSynapse(ctx, t), dir, ca)
	synapse.name = synapse.address
	synapse.oldKeys["ed25519:a_past"] = map[string]any{"key": newPublicKey(t), "expired_ts": 1}
	synapse.run(ctx, t, ca)
	target := synapseTarget(ctx, t, synapse, startPeer(t, ca))

	var results []invitetest.Result
	checks := slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool { return c.Attack })
	start := time.Now()
	for r := range invitetest.Results(ctx, target, checks...) {
		results = append(results, r)
		if r.Outcome == invitetest.Unknown {
			t.Errorf("%s", r)
		}
	}
	var all bytes.Buffer
	if err := invitetest.WriteTable(&all, results); err != nil {
		t.Fatal(err)
	}
	t.Logf("within %s:\n%s", time.Since(start).Round(time.Millisecond), &all)
	compareTable(t, page(t, synapse.version(ctx, t), anonymous(results, target)))
}

// newPublicKey makes the public part of a key that is used no more.
func newPublicKey(t *testing.T) string {
	t.Helper()
	_, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawStdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

// startPeer starts the suite's own server. Synapse finds it by its name, which is its
// address, and trusts its certificate.
func startPeer(t *testing.T, ca *authority) *invitetest.Server {
	t.Helper()
	certFile, keyFile := ca.issue(t, "peer")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	transport, err := discovery.New(discovery.Config{TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := fedinvite.ServerName(listener.Addr().String())
	signer, err := fedinvite.NewSigner(name, id, key)
	if err != nil {
		t.Fatal(err)
	}
	return invitetest.NewServer(t, name, func(c *invitetest.ServerConfig) {
		c.Listener, c.Certificate, c.Transport, c.Signer = listener, &cert, transport, signer
	})
}

// synapseTarget makes a target of Synapse: alice invites, bob is invited, and carol wants no
// invites.
func synapseTarget(ctx context.Context, t *testing.T, synapse *homeserver, peer *invitetest.Server) invitetest.Target {
	t.Helper()
	register := func(name string) client {
		c, err := synapse.client.register(ctx, synapse.secret, name)
		if err != nil {
			t.Fatalf("registering %s with Synapse: %v", name, err)
		}
		return c
	}
	alice, bob, carol := register("alice"), register("bob"), register("carol")
	if err := carol.blockInvites(ctx); err != nil {
		t.Fatalf("having Synapse refuse carol's invites: %v", err)
	}
	available, err := alice.roomVersions(ctx)
	if err != nil {
		t.Fatalf("Synapse's room versions: %v", err)
	}
	return invitetest.Target{
		Name:      fedinvite.ServerName(synapse.name),
		URL:       "https://" + synapse.address,
		Transport: synapse.client.http.Transport,
		Invitee:   bob.userID,
		Blocking:  carol.userID,
		Peer:      peer,
		Versions: slices.DeleteFunc(fedinvite.RoomVersions(), func(v fedinvite.RoomVersion) bool {
			_, ok := available[string(v)]
			return !ok
		}),
		Invite: func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error {
			roomID, err := alice.createRoom(ctx, string(version), "Conformance")
			if err != nil {
				return err
			}
			return alice.invite(ctx, roomID, invitee)
		},
		Timeout: 30 * time.Second,
	}
}

// anonymous takes out of results what differs from run to run: the names of the servers.
func anonymous(results []invitetest.Result, target invitetest.Target) []invitetest.Result {
	names := strings.NewReplacer(string(target.Name), "synapse.example", string(target.Peer.Name()), "peer.example")
	results = slices.Clone(results)
	for i := range results {
		results[i].Detail = names.Replace(results[i].Detail)
	}
	return results
}

// page is the page with the table.
func page(t *testing.T, version string, results []invitetest.Result) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, version, invitetest.SuiteVersion, time.Now().UTC().Format(time.DateOnly))
	if err := invitetest.WriteMarkdown(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const pageHead = `# Conformance: Synapse %s

What the conformance suite of the package [invitetest](../invitetest), version %d, found out
about this release on %s, in the configuration of [interop](../interop/README.md). A row is a
sentence of the specification, or of practice where that is silent; in a code span is how Synapse
behaves where it differs, or why that could not be tried. What the specification does not
call a MUST is for a server to decide.

To run it again:

` + "```sh\ncd interop\ngo test -run TestConformance -update\n```" + `

`

// compareTable compares a page with the stored one, but for the date.
func compareTable(t *testing.T, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(tableFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	date := regexp.MustCompile(`\bon \d{4}-\d\d-\d\d\b`)
	was, is := strings.Split(date.ReplaceAllString(string(stored), ""), "\n"), strings.Split(date.ReplaceAllString(got, ""), "\n")
	if slices.Equal(was, is) {
		return
	}
	t.Errorf("%s is another; -update writes it anew", tableFile)
	for _, line := range was {
		if !slices.Contains(is, line) {
			t.Errorf("- %s", line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			t.Errorf("+ %s", line)
		}
	}
}

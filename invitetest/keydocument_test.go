package invitetest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestKeyDocument(t *testing.T) {
	a, b := invitetest.Signer("a.example"), invitetest.SignerWithKey("a.example", "ed25519:2")
	old, notary := invitetest.SignerWithKey("a.example", "ed25519:0"), invitetest.Signer("notary.example")
	now := time.UnixMilli(time.Now().UnixMilli()).UTC()
	until, expired := now.Add(24*time.Hour), now.Add(-time.Hour)
	raw := invitetest.KeyDocument(a, until, invitetest.AddKeys(b), invitetest.AddOldKeys(expired, old))
	got, err := keyring.ReadDocument(invitetest.Sign(raw, b, notary), "a.example", now)
	if err != nil {
		t.Fatal(err)
	}
	want := &keyring.Document{
		Server: "a.example", ValidUntil: until,
		Records: []keyring.Record{
			{Server: "a.example", KeyID: "ed25519:0", Public: old.Public(), ExpiredAt: expired, Fetched: now},
			{Server: "a.example", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: until, Fetched: now},
			{Server: "a.example", KeyID: "ed25519:2", Public: b.Public(), ValidUntil: until, Fetched: now},
		},
		Signers: []keyring.SignerID{
			{Server: "a.example", KeyID: "ed25519:1"}, {Server: "a.example", KeyID: "ed25519:2"}, {Server: "notary.example", KeyID: "ed25519:1"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A key that is listed and has not signed is not proved.
	if got, err = keyring.ReadDocument(raw, "a.example", now); err != nil || len(got.Ignored) != 1 || got.Ignored[0].KeyID != "ed25519:2" {
		t.Errorf("without the second signature: %+v, %v", got, err)
	}
}

// It is what a Server publishes.
func TestKeyDocumentIsThatOfAServer(t *testing.T) {
	now := time.Now()
	peer := invitetest.NewServer(t, "peer.example", func(c *invitetest.ServerConfig) { c.Now = func() time.Time { return now } })
	old, current := peer.Signer(), peer.RotateKey()
	published, err := peer.Client().FetchServerKeys(t.Context(), "peer.example")
	want := invitetest.KeyDocument(current, now.Add(24*time.Hour), invitetest.AddOldKeys(now, old))
	if diff := cmp.Diff(string(want), string(published)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAnImpostorHasAnotherKey(t *testing.T) {
	a := invitetest.SignerWithKey("a.example", "ed25519:a")
	fake := invitetest.Impostor(a)
	if fake.ServerName() != "a.example" || fake.KeyID() != "ed25519:a" || fake.Public().Equal(a.Public()) ||
		!fake.Public().Equal(invitetest.Impostor(a).Public()) || fake.Public().Equal(invitetest.Impostor(invitetest.Signer("a.example")).Public()) {
		t.Errorf("got %s %s %x", fake.ServerName(), fake.KeyID(), fake.Public())
	}
}

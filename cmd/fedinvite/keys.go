package main

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

const keysUsage = `Usage:
    fedinvite keys [-notary NAME -notary-key KEY …] [-ca FILE] [-allow PREFIX …]
                   [-dns HOST:PORT] [-json] SERVER

Fetch the key document of a server, where "fedinvite resolve" finds it, check it as
a homeserver does, and show what it says: the keys in use and the old ones, until
when they are valid, as published and as it counts, what is ignored and why, and who
signed the document.

With -notary, ask that server about the keys too (POST /_matrix/key/v2/query) and
compare: "same", "missing" and "only there" are as they say; "changed" is a key that
is in use at one place and old at the other; "DIFFERENT" are other bytes under the
same ID, which should never be.

The exit status is 0 if the server has a key that counts and, with -notary, if the
notary's answer is signed by one of the keys given and has no different key.

Options:
    -notary NAME        a server to ask about the keys too
    -notary-key KEY     a key of the notary, "ed25519:ID BASE64"; may be repeated.
                        "fedinvite keys NOTARY" prints those that it has
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -dns HOST:PORT      the DNS server to ask, in place of the system's
    -json               write one JSON object; times are in milliseconds since 1970

Example:
    $ fedinvite keys matrix.org
`

func runKeys(ctx context.Context, s streams, args []string) error {
	q := newInquiry("keys")
	n := q.notary()
	server, err := q.parseServer(args)
	if err != nil {
		return err
	}
	if err := n.check(); err != nil {
		return err
	}
	config, err := q.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inquiryTimeout, errors.New("it took too long"))
	defer cancel()
	k := &keysReport{Server: server}
	err = k.ask(ctx, config, n)
	k.Error = errorText(err)
	return errors.Join(err, q.write(s.out, k))
}

// A keysReport is what a server publishes, and what a notary says about it.
type keysReport struct {
	Server   fedinvite.ServerName `json:"server"`
	Document *shownDocument       `json:"document,omitempty"`
	Notary   *notaryReport        `json:"notary,omitempty"`
	Error    string               `json:"error,omitempty"`
}

// ask fills in the report as far as it gets.
func (k *keysReport) ask(ctx context.Context, c discovery.Config, n *notary) error {
	transport, err := discovery.New(c)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	client, err := asker(transport)
	if err != nil {
		return err
	}
	own, err := k.fetch(ctx, client)
	if n.name == "" {
		return err
	}
	var failed error
	k.Notary, failed = n.compare(ctx, client, k.Server, own)
	return errors.Join(err, failed)
}

// fetch asks the server itself.
func (k *keysReport) fetch(ctx context.Context, client *fedclient.Client) ([]keyring.Record, error) {
	raw, err := client.FetchServerKeys(ctx, k.Server)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	d, err := keyring.ReadDocument(raw, k.Server, now)
	if d == nil {
		return nil, err
	}
	k.Document = newShownDocument(d, now)
	return d.Records, err
}

// A shownDocument is a key document as it is written for others.
type shownDocument struct {
	Fetched    int64            `json:"fetched_ts"`
	ValidUntil int64            `json:"valid_until_ts"` // as published
	Keys       []shownKey       `json:"keys"`           // that count, those in use first
	Ignored    []ignoredKey     `json:"ignored,omitempty"`
	Signatures []shownSignature `json:"signatures"`
}

// A shownKey is a key that counts, with its validity as it counts.
type shownKey struct {
	KeyID        fedinvite.KeyID `json:"key_id"`
	Key          string          `json:"key"`
	ValidUntilTS *int64          `json:"valid_until_ts,omitempty"`
	ExpiredTS    *int64          `json:"expired_ts,omitempty"` // of an old one
}

type ignoredKey struct {
	KeyID  fedinvite.KeyID `json:"key_id"`
	Reason string          `json:"reason"`
}

// A shownSignature is verified if it is of the server itself, by a key in use.
type shownSignature struct {
	Server   fedinvite.ServerName `json:"server"`
	KeyID    fedinvite.KeyID      `json:"key_id"`
	Verified bool                 `json:"verified"`
}

func newShownDocument(d *keyring.Document, fetched time.Time) *shownDocument {
	s := &shownDocument{Fetched: fetched.UnixMilli(), ValidUntil: d.ValidUntil.UnixMilli(), Keys: []shownKey{}, Signatures: []shownSignature{}}
	inUse := make(map[fedinvite.KeyID]bool)
	var old []shownKey
	for _, r := range d.Records {
		if r.ExpiredAt.IsZero() {
			inUse[r.KeyID] = true
			s.Keys = append(s.Keys, newShownKey(r))
		} else {
			old = append(old, newShownKey(r))
		}
	}
	s.Keys = append(s.Keys, old...)
	for _, i := range d.Ignored {
		s.Ignored = append(s.Ignored, ignoredKey{i.KeyID, i.Err.Error()})
	}
	for _, by := range d.Signers {
		s.Signatures = append(s.Signatures, shownSignature{by.Server, by.KeyID, by.Server == d.Server && inUse[by.KeyID]})
	}
	return s
}

func newShownKey(r keyring.Record) shownKey {
	k := shownKey{KeyID: r.KeyID, Key: base64.RawStdEncoding.EncodeToString(r.Public)}
	if r.ExpiredAt.IsZero() {
		k.ValidUntilTS = new(r.ValidUntil.UnixMilli())
	} else {
		k.ExpiredTS = new(r.ExpiredAt.UnixMilli())
	}
	return k
}

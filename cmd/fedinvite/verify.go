package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const verifyUsage = `Usage:
    fedinvite verify -room-version V -keys FILE [-signer NAME …] [FILE]

Read an event from FILE or from standard input and check what a receiving server
has to check: a line for each server that must have signed the event, and a line
if the content hash differs, so that only the redacted copy counts. The exit
status is 1 if a receiver must drop the event.

The keys come from a file alone; no server is asked:

    {"a.example": {"ed25519:1": {"key": "BASE64"}}, "b.example": {…}}

Next to "key" there may be "valid_until_ts", for a current key, or "expired_ts",
for one that is no longer in use, both in milliseconds since 1970. They matter
from room version 5 on.

Options:
    -room-version V   the version of the event's room, 1 to 12 (required)
    -keys FILE        the keys of servers (required)
    -signer NAME      a server that must have signed too, such as the one that
                      sent a third-party invite; may be repeated

Example:
    $ fedinvite verify -room-version 11 -keys keys.json event.json
    ok      signature of "a.example"
`

func runVerify(ctx context.Context, s streams, args []string) error {
	f := newFlags("verify")
	rules := f.needRules()
	keyFile := f.needString("keys")
	signers := f.servers("signer")
	file, err := f.parseFile(args)
	if err != nil {
		return err
	}
	keys, err := readKeys(*keyFile)
	if err != nil {
		return err
	}
	e, err := readEvent(ctx, s, file, *rules)
	if err != nil {
		return err
	}
	for _, server := range required(e, *signers) {
		verdict := fmt.Sprintf("ok      signature of %q", server)
		if err := verifySignature(ctx, e, server, keys); err != nil {
			verdict = "failed  " + oneLine(err.Error())
		}
		if err := writeLine(s.out, []byte(verdict)); err != nil {
			return err
		}
	}
	if !e.HashOK() {
		if err := writeLine(s.out, []byte("note    the content hash differs: only the redacted copy counts")); err != nil {
			return err
		}
	}
	if err := e.Verify(ctx, keys, *signers...); err != nil {
		return fmt.Errorf("a receiver must drop the event: %w", err)
	}
	return nil
}

// required returns the servers whose signatures the event needs, and the others
// named, each once.
func required(e *fedinvite.Event, others []fedinvite.ServerName) []fedinvite.ServerName {
	servers := e.RequiredSigners()
	for _, s := range others {
		if !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	return servers
}

// verifySignature checks what one server signed. An event's signatures cover its
// redacted form.
func verifySignature(ctx context.Context, e *fedinvite.Event, server fedinvite.ServerName, keys fedinvite.KeySource) error {
	if !e.Rules().EnforceKeyValidity {
		keys = endless{keys}
	}
	return fedinvite.VerifyJSON(ctx, e.Redacted().AppendJSON(nil), server, keys, e.OriginServerTS())
}

// endless keys are good until they are given up: valid_until_ts is not looked at.
type endless struct{ fedinvite.KeySource }

func (k endless) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	key, err := k.KeySource.VerifyKey(ctx, server, id, at)
	key.ValidUntil = time.Time{}
	return key, err
}

// fileKey is one key of a keys file.
type fileKey struct {
	Key          string `json:"key"`
	ValidUntilTS *int64 `json:"valid_until_ts,omitempty"`
	ExpiredTS    *int64 `json:"expired_ts,omitempty"`
}

// readKeys reads a keys file.
func readKeys(name string) (fedinvite.KeyMap, error) {
	data, err := readFile(name, maxInput)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

func parseKeys(data []byte) (fedinvite.KeyMap, error) {
	data, err := fedinvite.CanonicalJSON(data) // refuses what is ambiguous
	if err != nil {
		return nil, err
	}
	var file map[fedinvite.ServerName]map[fedinvite.KeyID]fileKey
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelt validity must not make a key valid for ever
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf(`not of the form {"SERVER":{"KEY ID":{"key":"BASE64"}}}: %w`, err)
	}
	keys := make(fedinvite.KeyMap)
	for server, all := range file {
		keys[server] = make(map[fedinvite.KeyID]fedinvite.VerifyKey)
		for id, k := range all {
			key, err := k.verifyKey()
			if err != nil {
				return nil, fmt.Errorf("key %q of %q: %w", id, server, err)
			}
			keys[server][id] = key
		}
	}
	return keys, nil
}

func (k fileKey) verifyKey() (key fedinvite.VerifyKey, err error) {
	if key.Public, err = fedinvite.ParsePublicKey(k.Key); err != nil {
		return key, err
	}
	if k.ValidUntilTS != nil {
		key.ValidUntil = time.UnixMilli(*k.ValidUntilTS)
	}
	if k.ExpiredTS != nil {
		key.ExpiredAt = time.UnixMilli(*k.ExpiredTS)
	}
	return key, nil
}

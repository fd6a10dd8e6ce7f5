package keyring_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestParseNotary(t *testing.T) {
	a, b := invitetest.SignerWithKey("n.ex", "ed25519:a"), invitetest.SignerWithKey("n.ex", "ed25519:b")
	plain, padded := base64.RawStdEncoding.EncodeToString(a.Public()), base64.StdEncoding.EncodeToString(b.Public())
	for line, want := range map[string]keyring.Notary{
		"n.ex ed25519:a " + plain: {
			Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:a": a.Public()},
		},
		"\tn.ex:8448  ed25519:a " + plain + "\ned25519:b+/ " + padded + "\n": {
			Server: "n.ex:8448", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:a": a.Public(), "ed25519:b+/": b.Public()},
		},
	} {
		got, err := keyring.ParseNotary(line)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", line, err, diff)
		}
		// What it returns is fit for a Ring.
		if _, err := keyring.New(keyring.Config{Fetcher: newNetwork(), NotaryFetcher: newOffice(t), Notaries: []keyring.Notary{got}}); err != nil {
			t.Error(err)
		}
	}
}

func TestParseNotaryRefuses(t *testing.T) {
	key := base64.RawStdEncoding.EncodeToString(invitetest.SignerWithKey("n.ex", "ed25519:a").Public())
	errAny := errors.New("")
	for line, want := range map[string]error{
		"":                                     errAny,
		"n.ex":                                 errAny,
		"n.ex ed25519:a":                       errAny,
		"n.ex " + key + " ":                    errAny,
		"ed25519:a " + key:                     errAny,
		"n.ex,ed25519:a," + key:                errAny,
		"n.ex ed25519:a " + key + " ed25519:b": errAny,
		"n.ex ed25519:a " + key + " ed25519:a " + key: errAny,
		"n/ex ed25519:a " + key:                       fedinvite.ErrIdentifier,
		"https://n.ex ed25519:a " + key:               fedinvite.ErrIdentifier,
		"n.ex a " + key:                               fedinvite.ErrIdentifier,
		"n.ex ed25519: " + key:                        fedinvite.ErrIdentifier,
		"n.ex ed448:a " + key:                         fedinvite.ErrIdentifier,
		"n.ex " + key + " ed25519:a":                  fedinvite.ErrIdentifier,
		"n.ex ed25519:a AA":                           fedinvite.ErrBadKey,
		"n.ex ed25519:a " + key[:42] + "!":            fedinvite.ErrBadKey,
		"n.ex ed25519:a " + strings.Repeat("A", 43):   fedinvite.ErrBadKey,
	} {
		got, err := keyring.ParseNotary(line)
		if err == nil || want != errAny && !errors.Is(err, want) || got.Keys != nil || !strings.HasPrefix(err.Error(), "keyring: ") {
			t.Errorf("%q: got %v, %v", line, got, err)
		}
	}
}

// From one line of a configuration file, or the value of an option.
func ExampleParseNotary() {
	notary, err := keyring.ParseNotary("matrix.org ed25519:auto Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(notary.Server, len(notary.Keys["ed25519:auto"]))

	_, err = keyring.ParseNotary("matrix.org ed25519:auto Noi6Wqc")
	fmt.Println(err)
	// Output:
	// matrix.org 32
	// keyring: notary "matrix.org": key "ed25519:auto": unusable key: public key of 5 bytes
}

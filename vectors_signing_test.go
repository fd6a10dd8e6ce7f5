package fedinvite_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

type signVector struct {
	vectorHead
	Object         string   `json:"object"`
	ServerName     string   `json:"server_name"`
	KeyID          string   `json:"key_id"`
	Seed           string   `json:"seed"`
	SignedBytes    string   `json:"signed_bytes"`
	Signature      string   `json:"signature"`
	SignedObject   string   `json:"signed_object"`
	SignedObjectOr []string `json:"signed_object_or"`
	Expect         string   `json:"expect"` // "" or "implementation-defined"
}

func TestVectorsSign(t *testing.T) {
	for _, c := range vectors[signVector](t, "signatures/sign").Cases {
		t.Run(c.Name, func(t *testing.T) {
			signer := &recordingSigner{Signer: signerFromSeed(t, c.ServerName, c.KeyID, c.Seed)}
			got, err := fedinvite.SignJSON(t.Context(), []byte(c.Object), signer)
			if c.Expect != "" && err != nil {
				wantAccept(t, c.Expect, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.SignedBytes, string(signer.message)); diff != "" {
				t.Errorf("signed bytes: -want +got\n%s", diff)
			}
			var wanted []string
			for _, want := range append([]string{c.SignedObject}, c.SignedObjectOr...) {
				wanted = append(wanted, canonicalText(t, want))
			}
			if !slices.Contains(wanted, string(got)) {
				t.Errorf("signed object: -want +got\n%s", cmp.Diff(wanted[0], string(got)))
			}
			keys := fedinvite.KeyMap{}
			keys.Add(signer)
			if err := fedinvite.VerifyJSON(t.Context(), []byte(c.SignedObject), signer.ServerName(), keys, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
}

type verifyVector struct {
	vectorHead
	Object       string               `json:"object"`
	ObjectBase64 string               `json:"object_base64"`
	ServerName   fedinvite.ServerName `json:"server_name"`
	Keys         vectorKeys           `json:"keys"`
	Expect       string               `json:"expect"`
}

func TestVectorsVerify(t *testing.T) {
	for _, c := range vectors[verifyVector](t, "signatures/verify").Cases {
		t.Run(c.Name, func(t *testing.T) {
			object := vectorText(t, c.Object, c.ObjectBase64)
			wantAccept(t, c.Expect, fedinvite.VerifyJSON(t.Context(), object, c.ServerName, c.Keys.keyMap(t), time.Time{}))
		})
	}
}

type ed25519Vector struct {
	vectorHead
	Public    string `json:"public_key_hex"`
	Signature string `json:"signature_hex"`
	Message   string `json:"message"`
	Expect    string `json:"expect"`
}

func TestVectorsEd25519(t *testing.T) {
	for _, c := range vectors[ed25519Vector](t, "signatures/ed25519").Cases {
		t.Run(c.Name, func(t *testing.T) {
			public, err := hex.DecodeString(c.Public)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := hex.DecodeString(c.Signature)
			if err != nil {
				t.Fatal(err)
			}
			wantAccept(t, c.Expect, fedinvite.VerifyKey{Public: public}.Verify([]byte(c.Message), signature))
		})
	}
}

type base64Vector struct {
	vectorHead
	Input  string `json:"input"`
	Expect string `json:"expect"`
	Output string `json:"output_hex"`
}

func TestVectorsBase64(t *testing.T) {
	for _, c := range vectors[base64Vector](t, "signatures/base64").Cases {
		t.Run(c.Name, func(t *testing.T) {
			got, err := fedinvite.DecodeBase64(c.Input)
			wantAccept(t, c.Expect, err)
			switch {
			case c.Expect == "accept" && hex.EncodeToString(got) != c.Output:
				t.Errorf("%x, want %s", got, c.Output)
			case err != nil && (!errors.Is(err, fedinvite.ErrBadJSON) || got != nil):
				t.Errorf("%x, error %v, want ErrBadJSON", got, err)
			}
		})
	}
}

// keyIDVector: a server may call its own keys "valid" ones only; signatures under "valid"
// and "tolerate" count, under "ignore" they do not.
type keyIDVector struct {
	vectorHead
	KeyID  string `json:"key_id"`
	Expect string `json:"expect"`
}

func TestVectorsKeyIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range vectors[keyIDVector](t, "signatures/key-ids").Cases {
		seen[c.Expect] = true
		own := c.Expect == "valid"
		id, err := fedinvite.ParseKeyID(c.KeyID)
		if (err == nil) != own || err != nil && !errors.Is(err, fedinvite.ErrIdentifier) || own && string(id) != c.KeyID {
			t.Errorf("%q for a key of ours: %q, error %v, want one: %v", c.KeyID, id, err, !own)
		}
		counts := own || c.Expect == "tolerate"
		keys := fedinvite.KeyMap{"a.example": {fedinvite.KeyID(c.KeyID): testVerifyKey(c.KeyID)}}
		err = fedinvite.VerifyJSON(t.Context(), signedBy(t, c.KeyID), "a.example", keys, time.Time{})
		if (err == nil) != counts || err != nil && !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("%q for a key of others: error %v, want one: %v", c.KeyID, err, !counts)
		}
	}
	for _, expect := range []string{"valid", "tolerate", "ignore"} {
		if !seen[expect] {
			t.Errorf("nothing that is %q", expect)
		}
	}
	if len(seen) != 3 {
		t.Errorf("unknown expectations among %v", seen)
	}
}

type severalKeysVector struct {
	vectorHead
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	Event       string                `json:"event"`
	ServerName  fedinvite.ServerName  `json:"server_name"`
	Keys        vectorKeys            `json:"keys"`
	Expect      string                `json:"expect"`
}

func TestVectorsSeveralKeys(t *testing.T) {
	for _, c := range vectors[severalKeysVector](t, "signatures/several-keys").Cases {
		t.Run(c.Name, func(t *testing.T) {
			e, err := fedinvite.ParseEvent([]byte(c.Event), rulesOf(t, c.RoomVersion))
			if err != nil {
				t.Fatal(err)
			}
			wantAccept(t, c.Expect, e.Verify(t.Context(), c.Keys.keyMap(t), c.ServerName))
		})
	}
}

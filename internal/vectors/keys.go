package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
)

// A key is a signing key of a server. Its seed is the SHA-256 of the server's name and
// the key's ID, one after the other.
type key struct{ server, id string }

func (k key) seed() []byte {
	seed := sha256.Sum256([]byte(k.server + k.id))
	return seed[:]
}

func (k key) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed()) }

// public returns the public key in unpadded base64.
func (k key) public() string {
	return unpadded(k.private()[ed25519.SeedSize:])
}

// sign returns the signature of message in unpadded base64.
func (k key) sign(message string) string {
	return unpadded(ed25519.Sign(k.private(), []byte(message)))
}

func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

func base64Padded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// The servers of the vectors. Invites go from keyA's to keyB's; keyB2 is of another name
// that the same server serves, and keyC's is somebody else.
var (
	keyA     = key{"a.example", "ed25519:1"}
	keyA2    = key{"a.example", "ed25519:2"}
	keyAOld  = key{"a.example", "ed25519:old"}
	keyANone = key{"a.example", "ed25519:unknown"} // in nobody's world
	keyB     = key{"b.example", "ed25519:1"}
	keyB2    = key{"b2.example", "ed25519:1"}
	keyC     = key{"c.example", "ed25519:1"}
)

// A publicKey is a key as a world knows it.
type publicKey struct {
	Public     string `json:"public_key"`
	ValidUntil int64  `json:"valid_until_ts,omitempty"`
	Expired    int64  `json:"expired_ts,omitempty"`
}

// A keyring holds what is known of servers' keys.
type keyring map[string]map[string]publicKey

func ringOf(keys ...key) keyring {
	r := keyring{}
	for _, k := range keys {
		r.add(k, publicKey{})
	}
	return r
}

// add adds k with the validity of p.
func (r keyring) add(k key, p publicKey) keyring {
	if r[k.server] == nil {
		r[k.server] = map[string]publicKey{}
	}
	p.Public = k.public()
	r[k.server][k.id] = p
	return r
}

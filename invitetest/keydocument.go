package invitetest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// KeyDocument returns what the server of signer answers to GET /_matrix/key/v2/server
// (server-server API, "Publishing Keys"): a document with one key, signed by that. The edits
// are made before, such as [AddKeys] and [AddOldKeys]; [Sign] adds signatures of further
// keys, and of a notary.
//
//	KeyDocument(signer, time.Now().Add(24*time.Hour), AddOldKeys(time.Now(), old))
//
// It serves the tests of who fetches keys; a [Server] publishes its own. validUntil counts
// in milliseconds. It panics where [Sign] does.
func KeyDocument(signer fedinvite.Signer, validUntil time.Time, edits ...Edit) json.RawMessage {
	document := Object{
		"server_name":     signer.ServerName(),
		"valid_until_ts":  validUntil.UnixMilli(),
		"verify_keys":     Object{},
		"old_verify_keys": Object{},
	}
	AddKeys(signer)(document)
	for _, edit := range edits {
		edit(document)
	}
	return Sign(Encode(document), signer)
}

// AddKeys returns an Edit that lists the keys of signers in verify_keys of a key document.
// The document has to be signed by each of them too.
func AddKeys(signers ...fedinvite.Signer) Edit {
	return func(document Object) {
		for _, s := range signers {
			Set(base64Of(s.Public()), "verify_keys", string(s.KeyID()), "key")(document)
		}
	}
}

// AddOldKeys returns an Edit that lists the keys of signers in old_verify_keys of a key
// document, given up at the time expired, in milliseconds. They need not sign it.
func AddOldKeys(expired time.Time, signers ...fedinvite.Signer) Edit {
	return func(document Object) {
		for _, s := range signers {
			key := Object{"key": base64Of(s.Public()), "expired_ts": expired.UnixMilli()}
			Set(key, "old_verify_keys", string(s.KeyID()))(document)
		}
	}
}

// Sign returns a JSON object with the signatures of signers (appendices, "Signing JSON").
// Those of other keys stay. It is not for events, which [Room.Sign] signs. It panics if
// canonical JSON has no such object, or if a signer fails.
func Sign(object json.RawMessage, signers ...fedinvite.Signer) json.RawMessage {
	for _, s := range signers {
		object = must(fedinvite.SignJSON(context.Background(), object, s))
	}
	return object
}

package keyring

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Document is the key document of a server, taken apart for looking at. Of all that it
// says a [Ring] uses the Records.
type Document struct {
	Server     fedinvite.ServerName
	ValidUntil time.Time // valid_until_ts, as the document says: it may lie in any year
	// Records are the keys that may be used, sorted by ID: of verify_keys those that
	// signed the document, and all of old_verify_keys that can be used.
	Records []Record
	// Ignored are the entries of verify_keys and old_verify_keys that are not used,
	// sorted by ID, and why. An ID that is in both is used as an old one.
	Ignored []IgnoredKey
	// Signers are all that the document has signatures of, sorted, with its own keys
	// and the unknown ones. The signatures of its Records that are not old are good; those
	// of others, such as notaries, were not looked at.
	Signers []SignerID
}

// An IgnoredKey is an entry of a [Document] that is not used.
type IgnoredKey struct {
	KeyID fedinvite.KeyID // as the document has it, which may be any text
	Err   error           // a wrong or missing signature wraps fedinvite.ErrSignature, an unusable key fedinvite.ErrBadKey
}

// A SignerID names a signature of a [Document], as the document has it: any text.
type SignerID struct {
	Server fedinvite.ServerName
	KeyID  fedinvite.KeyID
}

// ReadDocument reads the key document that server itself returned at the time fetched
// (server-server API, GET /_matrix/key/v2/server), as a [Ring] does. An error wraps
// [fedinvite.ErrUnknownKey], and says why no key of the document may be used. If that
// is because it lacks the signatures, the Document is returned too, without Records; of
// any other fault there is no Document.
func ReadDocument(raw []byte, server fedinvite.ServerName, fetched time.Time) (*Document, error) {
	parsed, err := parseDocument(raw, server, fetched)
	if err != nil {
		return nil, badDocument(server, err)
	}
	d := &Document{Server: server, ValidUntil: parsed.validUntil, Signers: signers(parsed.signatures)}
	if d.Records, d.Ignored, err = parsed.judge(); err != nil {
		return d, badDocument(server, err)
	}
	return d, nil
}

func signers(signatures map[string]json.RawMessage) []SignerID {
	var all []SignerID
	for server, keys := range signatures {
		ids, _ := object(keys)
		for id := range ids {
			all = append(all, SignerID{Server: fedinvite.ServerName(server), KeyID: fedinvite.KeyID(id)})
		}
	}
	slices.SortFunc(all, func(a, b SignerID) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.KeyID, b.KeyID))
	})
	return all
}

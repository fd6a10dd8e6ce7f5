package fedclient

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What fedinvite reads, and others with it.
const (
	maxEventSize = 65536 // bytes (client-server API, "Size limits")
	maxNesting   = 128   // arrays and objects in each other
	maxKeyID     = 255   // bytes
	// A transaction and the invite_room_state of a v2 invite hold events in two levels of
	// their own, the invite_room_state of a v1 invite in three.
	transactionLevels = 2
	maxEventNesting   = maxNesting - transactionLevels
	maxEntryNestingV1 = maxNesting - 3
)

// checkFit refuses an event that would outgrow its limits on its way, by the signatures
// that are to come or by what it is sent in.
func (c *composition) checkFit(text []byte) error {
	if size := len(text) + c.policyEntry() + c.inviteeEntry(); size > maxEventSize {
		return badInvitation(fedinvite.CodeBadJSON, tooLarge,
			fmt.Errorf("%w: event of %d bytes with all signatures, more than %d", fedinvite.ErrBadJSON, size, maxEventSize))
	}
	if deeperThan(c.Content, maxEventNesting-1) { // all else in the event is flat
		return badInvitation(fedinvite.CodeBadJSON, "the content is nested too deeply", errTooDeep)
	}
	return nil
}

// tooLarge is what the user's client is told.
const tooLarge = "the content does not fit into an event"

var errTooDeep = fmt.Errorf("%w: an event can be nested %d deep in a transaction", fedinvite.ErrTooDeep, maxEventNesting)

// policyEntry returns how many bytes the policy server's signature will add.
func (c *composition) policyEntry() int {
	if c.policy == nil {
		return 0
	}
	return entrySize(c.policy.name, len(policyKeyID), c.policy.name == c.signer.ServerName())
}

// inviteeEntry returns how many bytes the signature of the invitee's server will add, by
// the longest key ID if it is not ours.
func (c *composition) inviteeEntry() int {
	if c.membership != "invite" || c.inviteeServer == c.signer.ServerName() {
		return 0
	}
	key := maxKeyID
	if c.inviteeSigner != nil {
		key = len(c.inviteeSigner.KeyID())
	}
	return entrySize(c.inviteeServer, key, c.policy != nil && c.policy.name == c.inviteeServer)
}

// entrySize returns the length of one more signature, of a server that has signed or not.
func entrySize(server fedinvite.ServerName, keyID int, hasSigned bool) int {
	size := len(`"":""`) + keyID + base64.RawStdEncoding.EncodedLen(ed25519.SignatureSize)
	if !hasSigned {
		size += len(`"":{}`) + len(server)
	}
	return size + len(",")
}

// maxEntryNesting returns how deep an entry of the invite_room_state may be nested.
func maxEntryNesting(version fedinvite.RoomVersion) int {
	if hasV1(version) {
		return maxEntryNestingV1
	}
	return maxEventNesting
}

// deeperThan reports whether arrays and objects in text, which is canonical JSON, are
// nested deeper than most. Hardly any text has so many of them.
func deeperThan(text []byte, most int) bool {
	if len(text) <= 2*most || bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= most {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\': // in a string
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

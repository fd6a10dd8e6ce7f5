package main

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

const eventUsage = `Usage:
    fedinvite event -room-version V [FILE]

Read an event as servers exchange it, from FILE or from standard input, and write
one line of canonical JSON with what follows from it:

    content_hash      SHA-256 of the event's content, as hashes.sha256 has to be
    content_hash_ok   whether it is; if not, only the redacted form counts
    event_id          its ID
    redacted          the event in redacted form
    reference_hash    SHA-256 of the redacted form, from which IDs are made
    room_id           its room

Hashes are unpadded base64. No signature is checked, see "fedinvite help verify".
An event that breaks the format or the limits of the room version is refused.

Options:
    -room-version V   the version of the event's room, 1 to 12 (required)

Examples:
    $ fedinvite event -room-version 12 event.json
    $ fedinvite event -room-version 11 <event.json | jq -r .event_id
`

// description is what the command writes about an event.
type description struct {
	ContentHash   string           `json:"content_hash"`
	ContentHashOK bool             `json:"content_hash_ok"`
	EventID       string           `json:"event_id"`
	Redacted      *fedinvite.Event `json:"redacted"`
	ReferenceHash string           `json:"reference_hash"`
	RoomID        string           `json:"room_id"`
}

func runEvent(ctx context.Context, s streams, args []string) error {
	f := newFlags("event")
	rules := f.needRules()
	file, err := f.parseFile(args)
	if err != nil {
		return err
	}
	e, err := readEvent(ctx, s, file, *rules)
	if err != nil {
		return err
	}
	line, err := describe(e)
	if err != nil {
		return err
	}
	return writeLine(s.out, line)
}

func readEvent(ctx context.Context, s streams, file string, rules fedinvite.Rules) (*fedinvite.Event, error) {
	raw, err := readInput(ctx, s, file)
	if err != nil {
		return nil, err
	}
	return fedinvite.ParseEvent(raw, rules)
}

func describe(e *fedinvite.Event) ([]byte, error) {
	content, reference := e.ContentHash(), e.ReferenceHash()
	text, err := json.Marshal(description{
		ContentHash:   base64.RawStdEncoding.EncodeToString(content[:]),
		ContentHashOK: e.HashOK(),
		EventID:       e.ID(),
		Redacted:      e.Redacted(),
		ReferenceHash: base64.RawStdEncoding.EncodeToString(reference[:]),
		RoomID:        e.RoomID(),
	})
	if err != nil {
		return nil, err
	}
	// The redacted event may hold the numbers of old room versions.
	return fedinvite.LegacyCanonicalJSON(text)
}

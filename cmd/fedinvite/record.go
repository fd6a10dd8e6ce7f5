package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/seed-0a46cb1a/fedinvite"
)

// maxRecord bounds one file of a store: an event may have 64 KiB, and signatures and
// what is unsigned besides.
const maxRecord = 1 << 20

// A record is what a file of a store holds.
type record struct {
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	Event       json.RawMessage       `json:"event"`
}

func encodeRecord(e *fedinvite.Event) []byte {
	version, _ := json.Marshal(e.Rules().Version) // a string can always be written
	text := append([]byte(`{"room_version":`), version...)
	text = e.AppendJSON(append(text, `,"event":`...))
	return append(text, "}\n"...)
}

// recordSize returns the size of an event's file.
func recordSize(e *fedinvite.Event) int64 { return int64(len(encodeRecord(e))) }

// readRecord reads a file of at most limit bytes, and returns its size too.
func readRecord(name string, limit int64) (e *fedinvite.Event, size int64, err error) {
	text, err := readFile(name, min(limit, maxRecord))
	if err != nil {
		return nil, 0, err
	}
	if e, err = decodeRecord(text); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	return e, int64(len(text)), nil
}

func decodeRecord(text []byte) (*fedinvite.Event, error) {
	var r record
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("not an event of a store: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("not an event of a store: %w", fedinvite.ErrNotJSON)
	}
	rules, err := r.RoomVersion.Rules()
	if err != nil {
		return nil, err
	}
	return fedinvite.ParseStored(r.Event, rules)
}

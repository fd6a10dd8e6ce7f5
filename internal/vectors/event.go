package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
)

func decimal(n int) string { return strconv.Itoa(n) }

// contentHash returns the content hash in base64 (server-server API, "Calculating the
// content hash for an event").
func contentHash(event object) string {
	hash := sha256.Sum256([]byte(canonical(with(event, drop("unsigned"), drop("signatures"), drop("hashes")))))
	return unpadded(hash[:])
}

// signedText returns what the signatures of an event are made over.
func (v roomVersion) signedText(event object) string {
	return canonical(with(v.redact(event), drop("signatures")))
}

func (v roomVersion) referenceHash(event object) [32]byte {
	return sha256.Sum256([]byte(v.signedText(event)))
}

// eventID returns the ID of an event.
func (v roomVersion) eventID(event object) string {
	if v.namedEvents {
		id, _ := event["event_id"].(string)
		return id
	}
	hash := v.referenceHash(event)
	if v.urlSafeID {
		return "$" + base64.RawURLEncoding.EncodeToString(hash[:])
	}
	return "$" + unpadded(hash[:])
}

// hash sets the content hash.
func hash(event object) edit {
	return set(contentHash(event), "hashes", "sha256")
}

// addSignature signs an event that has its content hash.
func (v roomVersion) addSignature(event object, signers ...key) object {
	event = clone(event)
	for _, k := range signers {
		set(k.sign(v.signedText(event)), "signatures", k.server, k.id)(event)
	}
	return event
}

// sign hashes an event and signs it.
func (v roomVersion) sign(event object, signers ...key) object {
	event = with(event, drop("signatures"), drop("hashes"))
	return v.addSignature(with(event, hash(event)), signers...)
}

// reference returns what other events refer to the event by.
func (v roomVersion) reference(event object) any {
	if !v.namedEvents {
		return v.eventID(event)
	}
	hash := v.referenceHash(event)
	return list{v.eventID(event), object{"sha256": unpadded(hash[:])}}
}

// references returns n references to events that nobody has.
func (v roomVersion) references(n int) list {
	all := list{}
	for i := range n {
		if v.namedEvents {
			all = append(all, list{fmt.Sprintf("$%d:a.example", i), object{"sha256": unpadded(make([]byte, 32))}})
		} else {
			all = append(all, fmt.Sprintf("$%043d", i))
		}
	}
	return all
}

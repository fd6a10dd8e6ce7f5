package main

import (
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What the lines that serve prints are about.
const (
	eventInvited   = "invited"
	eventRefused   = "refused"
	eventDeclined  = "declined"
	eventTakenBack = "taken back"
)

// An outcome is the line that serve prints about one invite. A refused one has
// errcode and reason, an accepted one the room state, as clients may see it, and
// what was odd about that.
type outcome struct {
	Event       string                `json:"event"`
	Origin      fedinvite.ServerName  `json:"origin"`
	Sender      string                `json:"sender"`
	Invitee     string                `json:"invitee"`
	RoomID      string                `json:"room_id"`
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	EventID     string                `json:"event_id"`
	RoomState   []json.RawMessage     `json:"room_state,omitzero"`
	Warnings    []string              `json:"warnings,omitzero"`
	Errcode     fedinvite.Code        `json:"errcode,omitempty"`
	Reason      string                `json:"reason,omitempty"`
}

// newOutcome describes a delivery; ok is false for requests that never were an
// invite: those to other endpoints.
func newOutcome(d *fedinvite.Delivery, inv *fedinvite.Invite, err error) (o outcome, ok bool) {
	o = outcome{Origin: d.Origin, RoomID: d.RoomID, RoomVersion: d.Request.RoomVersion, EventID: d.EventID}
	if inv != nil {
		o.Sender, o.Invitee, o.RoomVersion = inv.Event.Sender(), inv.Invitee, inv.Event.Rules().Version
	}
	if err != nil {
		o.Event = eventRefused
		o.Errcode, o.Reason = fedinvite.WireError(err).Code, err.Error()
		return o, o.Errcode != fedinvite.CodeUnrecognized
	}
	o.Event = eventInvited
	o.RoomState = inv.RoomState.Client()
	o.Warnings = make([]string, 0, len(inv.RoomState.Warnings))
	for _, w := range inv.RoomState.Warnings {
		o.Warnings = append(o.Warnings, w.Error())
	}
	return o, true
}

// An ending is the line that serve prints about the leave by which an invite ended.
type ending struct {
	Event       string                `json:"event"`
	Sender      string                `json:"sender"`
	Invitee     string                `json:"invitee"`
	RoomID      string                `json:"room_id"`
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	EventID     string                `json:"event_id"`
}

func newEnding(event string, leave *fedinvite.Event) ending {
	return ending{event, leave.Sender(), invitee(leave), leave.RoomID(), leave.Rules().Version, leave.ID()}
}

// outcomes is a witness that writes a line of JSON for each thing that happens, whole
// lines at a time.
type outcomes struct {
	mu  sync.Mutex
	out *json.Encoder
}

func newOutcomes(w io.Writer) *outcomes {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &outcomes{out: encoder}
}

func (o *outcomes) received(_ context.Context, d *fedinvite.Delivery, inv *fedinvite.Invite, err error) {
	if line, ok := newOutcome(d, inv, err); ok {
		o.write(line)
	}
}

func (o *outcomes) declined(leave *fedinvite.Event) { o.write(newEnding(eventDeclined, leave)) }

func (o *outcomes) takenBack(leave, _ *fedinvite.Event) { o.write(newEnding(eventTakenBack, leave)) }

func (o *outcomes) write(line any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.out.Encode(line) // if nobody reads any longer, what happened counts all the same
}

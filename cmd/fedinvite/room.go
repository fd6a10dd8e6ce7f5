package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// object is a JSON object that is being written.
type object = map[string]any

// A room is a new room whose only member is its creator.
type room struct {
	rules   fedinvite.Rules
	signer  fedinvite.Signer
	creator string
	id      string             // known once there is a create event
	state   []*fedinvite.Event // in the order of their making, each after the one before
	created time.Time
}

// newRoom makes a room with the least state that an invite needs, and a name
// unless that is empty.
func newRoom(ctx context.Context, rules fedinvite.Rules, signer fedinvite.Signer, creator, name string) (*room, error) {
	r := &room{rules: rules, signer: signer, creator: creator, created: time.Now()}
	if !rules.RoomIDIsCreateEvent {
		r.id = newID('!', signer.ServerName())
	}
	events := []struct {
		eventType, stateKey string
		content             object
	}{
		{"m.room.create", "", r.createContent()},
		{"m.room.member", creator, object{"membership": "join"}},
		{"m.room.power_levels", "", object{"users": r.powers()}},
		{"m.room.join_rules", "", object{"join_rule": "invite"}},
		{"m.room.name", "", object{"name": name}},
	}
	if name == "" {
		events = events[:len(events)-1]
	}
	for _, e := range events {
		if err := r.add(ctx, e.eventType, e.stateKey, e.content); err != nil {
			return nil, fmt.Errorf("%s of a new room: %w", e.eventType, err)
		}
	}
	return r, nil
}

func (r *room) createContent() object {
	content := object{"room_version": r.rules.Version}
	if !r.rules.Auth.CreatorIsSender {
		content["creator"] = r.creator
	}
	return content
}

// powers gives the creator power, unless a creator has all of it anyway and must
// not be listed.
func (r *room) powers() object {
	if r.rules.Auth.PrivilegedCreators {
		return object{}
	}
	return object{r.creator: 100}
}

// add makes the next event of the room's state.
func (r *room) add(ctx context.Context, eventType, stateKey string, content object) error {
	pdu := object{
		"auth_events":      r.references(r.auth()),
		"content":          content,
		"depth":            len(r.state) + 1,
		"origin_server_ts": r.created.UnixMilli(),
		"prev_events":      r.references(r.last()),
		"sender":           r.creator,
		"state_key":        stateKey,
		"type":             eventType,
	}
	if r.id != "" {
		pdu["room_id"] = r.id
	}
	if r.rules.EventIDs == fedinvite.EventIDServer {
		pdu["event_id"] = newID('$', r.signer.ServerName())
	}
	raw, err := fedinvite.MarshalCanonical(pdu)
	if err != nil {
		return err
	}
	signed, err := fedinvite.SignEventJSON(ctx, raw, r.rules, r.signer)
	if err != nil {
		return err
	}
	e, err := fedinvite.ParseEvent(signed, r.rules)
	if err != nil {
		return err
	}
	r.id = e.RoomID()
	r.state = append(r.state, e)
	return nil
}

// auth returns the events that allow what the creator does ("Auth events
// selection" of the server-server API), and the further ones named.
func (r *room) auth(further ...string) (chosen []*fedinvite.Event) {
	for _, e := range r.state {
		switch t := e.Type(); {
		case t == "m.room.create" && r.rules.Auth.CreateInAuthEvents,
			t == "m.room.member", t == "m.room.power_levels", slices.Contains(further, t):
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// last returns the newest event, if there is one.
func (r *room) last() []*fedinvite.Event {
	return r.state[max(0, len(r.state)-1):]
}

// references writes auth_events or prev_events.
func (r *room) references(events []*fedinvite.Event) []any {
	all := make([]any, 0, len(events))
	for _, e := range events {
		if r.rules.EventIDs != fedinvite.EventIDServer {
			all = append(all, e.ID())
			continue
		}
		hash := e.ReferenceHash()
		all = append(all, []any{e.ID(), object{"sha256": base64.RawStdEncoding.EncodeToString(hash[:])}})
	}
	return all
}

// invite makes the event by which the creator invites a user.
func (r *room) invite(ctx context.Context, invitee string) (*fedinvite.Event, error) {
	d := fedinvite.Draft{
		RoomID:     r.id,
		Sender:     r.creator,
		Invitee:    invitee,
		AuthEvents: eventRefs(r.auth("m.room.join_rules")),
		PrevEvents: eventRefs(r.last()),
		Depth:      int64(len(r.state)) + 1,
		Time:       time.Now(),
	}
	if r.rules.EventIDs == fedinvite.EventIDServer {
		d.EventID = newID('$', r.signer.ServerName())
	}
	return fedinvite.NewInvite(ctx, d, r.rules, r.signer)
}

func eventRefs(events []*fedinvite.Event) []fedinvite.EventRef {
	refs := make([]fedinvite.EventRef, 0, len(events))
	for _, e := range events {
		hash := e.ReferenceHash()
		refs = append(refs, fedinvite.EventRef{ID: e.ID(), SHA256: hash[:]})
	}
	return refs
}

// newID makes up an identifier of a server.
func newID(sigil byte, server fedinvite.ServerName) string {
	return string(sigil) + rand.Text()[:18] + ":" + string(server)
}

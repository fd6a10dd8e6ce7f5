package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// object is a JSON object that is being written.
type object = map[string]any

// A founder makes a room of a server of ours.
type founder struct {
	*room
	signer  fedinvite.Signer
	creator string
	now     time.Time
}

// newRoom makes a room with the least state that an invite needs, and a name
// unless that is empty. Its only member is its creator.
func newRoom(ctx context.Context, rules fedinvite.Rules, signer fedinvite.Signer, creator, name string) (*room, error) {
	f := &founder{&room{rules: rules}, signer, creator, time.Now()}
	if !rules.RoomIDIsCreateEvent {
		f.id = f.newID('!')
	}
	events := []struct {
		eventType, stateKey string
		content             object
	}{
		{"m.room.create", "", f.createContent()},
		{"m.room.member", creator, object{"membership": "join"}},
		{"m.room.power_levels", "", object{"users": f.powers()}},
		{"m.room.join_rules", "", object{"join_rule": "invite"}},
		{"m.room.name", "", object{"name": name}},
	}
	if name == "" {
		events = events[:len(events)-1]
	}
	for _, e := range events {
		if err := f.add(ctx, creator, e.eventType, e.stateKey, e.content); err != nil {
			return nil, fmt.Errorf("%s of a new room: %w", e.eventType, err)
		}
	}
	return f.room, nil
}

func (f *founder) createContent() object {
	content := object{"room_version": f.rules.Version}
	if !f.rules.Auth.CreatorIsSender {
		content["creator"] = f.creator
	}
	return content
}

// powers gives the creator power, unless a creator has all of it anyway and must
// not be listed.
func (f *founder) powers() object {
	if f.rules.Auth.PrivilegedCreators {
		return object{}
	}
	return object{f.creator: 100}
}

// add makes the next event of the room's state.
func (f *founder) add(ctx context.Context, sender, eventType, stateKey string, content object) error {
	snapshot := f.snapshot()
	// What the sender's own leave would refer to is what every event of theirs does.
	change := eventauth.Change{RoomID: f.id, Sender: sender, Target: sender, Membership: "leave"}
	pdu := object{
		"auth_events":      f.references(eventauth.SelectAuthEvents(change, f.rules, snapshot.State)),
		"content":          content,
		"depth":            snapshot.Depth + 1,
		"origin_server_ts": f.now.UnixMilli(),
		"prev_events":      f.references(f.extremities()),
		"sender":           sender,
		"state_key":        stateKey,
		"type":             eventType,
	}
	if f.id != "" {
		pdu["room_id"] = f.id
	}
	if f.rules.EventIDs == fedinvite.EventIDServer {
		pdu["event_id"] = f.newID('$')
	}
	raw, err := fedinvite.MarshalCanonical(pdu)
	if err != nil {
		return err
	}
	signed, err := fedinvite.SignEventJSON(ctx, raw, f.rules, f.signer)
	if err != nil {
		return err
	}
	e, err := fedinvite.ParseEvent(signed, f.rules)
	if err != nil {
		return err
	}
	f.id = e.RoomID()
	*f.room = *f.with(e)
	return nil
}

// references writes auth_events or prev_events.
func (f *founder) references(events []*fedinvite.Event) []any {
	all := make([]any, 0, len(events))
	for _, e := range events {
		if f.rules.EventIDs != fedinvite.EventIDServer {
			all = append(all, e.ID())
			continue
		}
		hash := base64.RawStdEncoding.EncodeToString(e.Ref().SHA256)
		all = append(all, []any{e.ID(), object{"sha256": hash}})
	}
	return all
}

// newID makes up an identifier of the server.
func (f *founder) newID(sigil byte) string {
	return string(sigil) + rand.Text()[:18] + ":" + string(f.signer.ServerName())
}

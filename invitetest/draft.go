package invitetest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// Draft returns a state event that follows on those of the room: it is neither hashed nor
// signed nor in the room. Edit it and give it to [Room.Sign]. content is what [json.Marshal]
// makes an object of, or nil.
func (r *Room) Draft(sender, eventType, stateKey string, content any, edits ...Edit) Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draft(sender, eventType, stateKey, content, edits)
}

func (r *Room) draft(sender, eventType, stateKey string, content any, edits []Edit) Object {
	event := Object{
		"type": eventType, "state_key": stateKey, "sender": sender, "content": contentOf(content),
		"origin_server_ts": r.now().UnixMilli(), "depth": 1, "auth_events": []any{}, "prev_events": []any{},
	}
	if r.id != "" {
		event["room_id"] = r.id
	}
	if n := len(r.events); n > 0 {
		event["depth"] = r.events[n-1].Depth() + 1
		event["auth_events"] = r.references(eventauth.SelectAuthEvents(r.changeOf(event), r.rules, r.state())...)
		event["prev_events"] = r.references(r.events[n-1])
	}
	r.drafts++
	if r.rules.EventIDs == fedinvite.EventIDServer {
		event["event_id"] = fmt.Sprintf("$%s-%d:%s", r.seed, r.drafts, serverOf(sender))
	}
	for _, edit := range edits {
		edit(event)
	}
	return event
}

func contentOf(content any) Object {
	if content == nil {
		return Object{}
	}
	return Decode(Encode(content))
}

// changeOf returns what an event does, as far as its auth events depend on that. All that
// is no membership refers to what its sender's own leave would refer to.
func (r *Room) changeOf(event Object) eventauth.Change {
	sender := event["sender"].(string)
	change := eventauth.Change{RoomID: r.id, Sender: sender, Target: sender, Membership: "leave"}
	content := event["content"].(Object)
	membership, ok := content["membership"].(string)
	if event["type"] != "m.room.member" || !ok {
		return change
	}
	change.Target, change.Membership = event["state_key"].(string), membership
	change.AuthorisedVia, _ = content["join_authorised_via_users_server"].(string)
	if invite, ok := content["third_party_invite"]; ok {
		change.ThirdParty = Encode(invite)
	}
	return change
}

// references writes auth_events or prev_events.
func (r *Room) references(events ...*fedinvite.Event) []any {
	all := make([]any, 0, len(events))
	for _, e := range events {
		if r.rules.EventIDs != fedinvite.EventIDServer {
			all = append(all, e.ID())
			continue
		}
		hash := base64.RawStdEncoding.EncodeToString(e.Ref().SHA256)
		all = append(all, []any{e.ID(), Object{"sha256": hash}})
	}
	return all
}

// Sign hashes an event, an [Object] or JSON, and signs it: with the key of the creator's
// server unless others are named. Nothing is checked, so that it can make what
// nobody should accept. It panics if event has no canonical form in the room version.
func (r *Room) Sign(event any, signers ...fedinvite.Signer) json.RawMessage {
	if len(signers) == 0 {
		signers = []fedinvite.Signer{r.signer(r.Server())}
	}
	raw := textOf(event)
	for _, s := range signers {
		var err error
		if raw, err = fedinvite.SignEventJSON(context.Background(), raw, r.rules, s); err != nil {
			panic(fmt.Sprintf("invitetest: signing an event: %v", err))
		}
	}
	return raw
}

// Parse reads an event of the room's version, without the limits of [fedinvite.ParseEvent].
// It panics if it is none.
func (r *Room) Parse(event json.RawMessage) *fedinvite.Event {
	e, err := fedinvite.ParseStored(event, r.rules)
	if err != nil {
		panic(fmt.Sprintf("invitetest: no event of room version %s: %v", r.rules.Version, err))
	}
	return e
}

// InviteDraft is [Room.Draft] of the creator's invite for a user.
func (r *Room) InviteDraft(invitee string, edits ...Edit) Object {
	return r.Draft(r.creator, "m.room.member", invitee, Object{"membership": "invite"}, edits...)
}

// Invite returns the creator's invite for a user, signed by the creator's server. The edits
// are made before; those that leave no event at all make it panic. It is not in the room:
// [Room.Add] puts it there.
func (r *Room) Invite(invitee string, edits ...Edit) *fedinvite.Event {
	return r.Parse(r.Sign(r.InviteDraft(invitee, edits...)))
}

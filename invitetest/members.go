package invitetest

import (
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// Join has a user join, of whatever server, and returns the event. If the room is not
// public and nobody has invited them, the creator does that first, and both servers sign
// the invite. It panics if the user is banned.
func (r *Room) Join(userID string, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.membership(userID) {
	case "join", "invite":
	case "ban":
		panic(fmt.Sprintf("invitetest: %s is banned and cannot join", userID))
	default:
		if rules := r.state().Get("m.room.join_rules", ""); rules == nil || rules.ContentJSON("join_rule") != `"public"` {
			r.member(r.creator, userID, "invite", nil)
		}
	}
	return r.member(userID, userID, "join", edits)
}

// Leave has a user leave, or decline an invite, and returns the event. It panics if there
// is nothing that the user could leave.
func (r *Room) Leave(userID string, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member(userID, userID, "leave", edits)
}

// Kick has the creator remove a user, take an invite back or end a ban, and returns the
// event. It panics if the room's rules do not allow that.
func (r *Room) Kick(userID string, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member(r.creator, userID, "leave", edits)
}

// Ban has the creator ban a user, and returns the event.
func (r *Room) Ban(userID string, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member(r.creator, userID, "ban", edits)
}

// Knock has a user knock, and returns the event. It panics if the room's rules do not allow
// that: they do from room version 7 on, with the join rule "knock".
func (r *Room) Knock(userID string, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member(userID, userID, "knock", edits)
}

// membership returns the membership of a user, "" if there is none.
func (r *Room) membership(userID string) string {
	if e := r.state().Get("m.room.member", userID); e != nil {
		return e.Membership()
	}
	return ""
}

// member adds a membership. It panics if it is one that package eventauth knows and does
// not allow.
func (r *Room) member(sender, target, membership string, edits []Edit) *fedinvite.Event {
	switch membership {
	case "invite", "leave", "knock":
		change := eventauth.Change{RoomID: r.id, Sender: sender, Target: target, Membership: membership}
		if err := change.Authorize(r.rules, r.state()); err != nil {
			panic(fmt.Sprintf("invitetest: %s of %s by %s: %v", membership, target, sender, err))
		}
	}
	signers := []fedinvite.Signer{r.signer(serverOf(sender))}
	if server := serverOf(target); membership == "invite" && server != serverOf(sender) {
		signers = append(signers, r.signer(server))
	}
	return r.set(sender, "m.room.member", target, Object{"membership": membership}, edits, signers...)
}

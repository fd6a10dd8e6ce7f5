package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// lives is a scene in which three invites live, in rooms of one version: one is
// declined, one goes the other way and is taken back, one stays within a server.
func lives(v fedinvite.RoomVersion, a, b *peer) scene {
	return func(ctx context.Context) row {
		r := row{version: v, servers: a.label + " and " + b.label}
		there, errThere := newTrial(ctx, v, a, "alice", b, "bob")
		back, errBack := newTrial(ctx, v, b, "bob", a, "alice")
		local, errLocal := newTrial(ctx, v, a, "alice", a, "amy")
		if r.failure = errors.Join(errThere, errBack, errLocal); r.failure != nil {
			return r
		}
		r.do(ctx,
			there.invited, there.signed, there.declines,
			back.invited, back.signed, back.takesBack,
			func(ctx context.Context) (string, error) { return local.local(ctx, b) })
		return r
	}
}

// refused is a scene in which the invited server blocks the sender.
func refused(v fedinvite.RoomVersion, a, b *peer, sender string) scene {
	return func(ctx context.Context) row {
		r := row{version: v, servers: a.label + " and " + b.label, note: sender + " → bob, not refused"}
		t, err := newTrial(ctx, v, a, sender, b, "bob")
		if err == nil {
			_, err = t.send(ctx)
		}
		remote, told := errors.AsType[*fedclient.RemoteError](err)
		if !told || remote.Code != fedinvite.CodeForbidden || !b.hasRefused(err) {
			r.failure = fmt.Errorf("%s had to refuse with %s, but %s was told: %v", b.label, fedinvite.CodeForbidden, a.label, err)
			return r
		}
		r.note = fmt.Sprintf("%s → bob, refused by %s: %d %s: %s", sender, b.label, remote.Status, remote.Code, remote.Message)
		return r
	}
}

// hasRefused reports whether the peer means it: whether it knows of the invite that
// failed with err, and that it did not accept it.
func (p *peer) hasRefused(err error) bool {
	failed, ok := errors.AsType[*fedclient.InviteError](err)
	return ok && failed.Event != nil && p.receipt(failed.Event.ID()).event == eventRefused
}

// forbidden is a scene in which the rules of the room do not let the sender invite.
func forbidden(v fedinvite.RoomVersion, a, b *peer) scene {
	return func(ctx context.Context) row {
		r := row{version: v, servers: a.label + " and " + b.label, note: "dave → bob, sent"}
		t, err := newTrial(ctx, v, a, "alice", b, "bob")
		if err == nil {
			err = t.joinWithoutPower(ctx, "dave")
		}
		asked := b.asked()
		if err == nil {
			_, err = t.send(ctx)
		}
		rule, ok := errors.AsType[*eventauth.RuleError](err)
		if !ok || b.asked() != asked {
			r.failure = fmt.Errorf("a rule had to forbid it, but: %v", err)
			return r
		}
		r.note = fmt.Sprintf("dave → bob, not sent by %s, rule %s: %s", a.label, rule.Rule, rule.Reason)
		return r
	}
}

// joinWithoutPower has another user join the room, who then is the sender, and makes
// inviting something that takes power.
func (t *trial) joinWithoutPower(ctx context.Context, localpart string) error {
	creator := t.sender
	t.sender = t.from.user(localpart)
	f := &founder{t.room, t.from.signer, creator, time.Now()}
	for _, e := range []struct {
		sender, eventType, stateKey string
		content                     object
	}{
		{creator, "m.room.member", t.sender, object{"membership": "invite"}},
		{t.sender, "m.room.member", t.sender, object{"membership": "join"}},
		{creator, "m.room.power_levels", "", object{"users": f.powers(), "invite": 50}},
	} {
		if err := f.add(ctx, e.sender, e.eventType, e.stateKey, e.content); err != nil {
			return err
		}
	}
	return nil
}

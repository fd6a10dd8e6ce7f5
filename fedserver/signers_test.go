package fedserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// countedKeys counts the look-ups for each server.
type countedKeys struct {
	fedinvite.KeySource
	mu    sync.Mutex
	asked map[fedinvite.ServerName]int
}

func counted(keys fedinvite.KeySource) *countedKeys {
	return &countedKeys{KeySource: keys, asked: map[fedinvite.ServerName]int{}}
}

func (k *countedKeys) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[server]++
	return k.KeySource.VerifyKey(ctx, server, id, at)
}

// signatures adds n made-up signatures of a server to an event.
func signatures(t testing.TB, event json.RawMessage, server fedinvite.ServerName, n int) json.RawMessage {
	t.Helper()
	return edited(event, func(o object) {
		all := o["signatures"].(object)
		if all[string(server)] == nil {
			all[string(server)] = object{}
		}
		for i := range n {
			all[string(server)].(object)[fmt.Sprintf("ed25519:x%d", i)] = strings.Repeat("A", 86)
		}
	})
}

// leavesForOthers are leaves that somebody else would have to sign too, by room version.
var leavesForOthers = map[fedinvite.RoomVersion]func(o object){
	fedinvite.RoomV1: func(o object) { o["event_id"] = "$x:c.ex" },
	fedinvite.RoomV2: func(o object) { o["event_id"] = "$x:c.ex" },
	fedinvite.RoomV8: func(o object) { o["content"].(object)["join_authorised_via_users_server"] = carol },
	fedinvite.RoomV11: func(o object) {
		o["content"].(object)["join_authorised_via_users_server"] = carol
	},
}

// However it is signed, its keys are not looked up.
func TestALeaveThatOthersWouldHaveToSign(t *testing.T) {
	const detail = "signature check failed: others than the sender's server would have to sign this leave"
	for version, change := range leavesForOthers {
		for name, signers := range map[string][]fedinvite.ServerName{
			"signed by all": {serverA, serverB, serverC}, "signed by the sender": {serverA, serverB}, "signed by the other": {serverC},
		} {
			t.Run(fmt.Sprint(version, " ", name), func(t *testing.T) {
				r := newRoom(t, version)
				invite := r.invite(bob)
				keys := counted(allKeys())

				o := r.leaveOf(bob)
				change(o)
				leaves := newResident(t, r, func(c *fedserver.LeavesConfig) { c.Keys = keys })
				said := wantRefusal(t, answer(leaves, leaves.sendLetter(r.signed(o, signers...)).request(t)), 400, fedinvite.CodeInvalidParam)
				if said.Message != detail || len(leaves.handled) > 0 {
					t.Errorf("told %q, handled %d", said.Message, len(leaves.handled))
				}

				o = r.rescission(alice)
				change(o)
				raw := r.signed(o, signers...)
				transactions := newInvited(t, []*fedinvite.Event{invite}, func(c *fedserver.TransactionsConfig) { c.Keys = keys })
				want := string(encode(object{"pdus": object{r.Parse(raw).ID(): object{"error": detail}}}))
				if status, body := transactions.send(object{"pdus": []any{raw}}); status != 200 || body != want || len(transactions.removed) > 0 {
					t.Errorf("got %d %s, removed %d", status, body, len(transactions.removed))
				}
				if _, err := transactions.TakeBack(t.Context(), raw); !errors.Is(err, fedinvite.ErrSignature) {
					t.Errorf("TakeBack: %v", err)
				}
				if len(keys.asked) > 0 {
					t.Errorf("looked up %v", keys.asked)
				}
			})
		}
	}
}

func TestHowManySignaturesOfOneServerAreLookedAt(t *testing.T) {
	for _, c := range []struct {
		name   string
		server fedinvite.ServerName // of the made-up signatures
		more   int
		ok     bool
	}{
		{"10", "", 9, true},
		{"11", "", 10, false},
		{"those of others do not matter", serverC, 80, true},
		{"those of others do not matter, first", "0.ex", 80, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			invite := r.invite(bob)
			keys := counted(allKeys())
			junk := func(event json.RawMessage, sender fedinvite.ServerName) json.RawMessage {
				if c.server != "" {
					sender = c.server
				}
				return signatures(t, event, sender, c.more)
			}

			leaves := newResident(t, r, func(config *fedserver.LeavesConfig) { config.Keys = keys })
			w := answer(leaves, leaves.sendLetter(junk(r.signed(r.leaveOf(bob), serverB), serverB)).request(t))
			if c.ok {
				wantOK(t, w, `{}`)
			} else {
				wantRefusal(t, w, 400, fedinvite.CodeInvalidParam)
			}

			transactions := newInvited(t, []*fedinvite.Event{invite}, func(config *fedserver.TransactionsConfig) { config.Keys = keys })
			handled, err := transactions.TakeBack(t.Context(), junk(r.signed(r.rescission(alice), serverA), serverA))
			if handled != c.ok || c.ok != (err == nil) || !c.ok && !errors.Is(err, fedinvite.ErrSignature) {
				t.Errorf("TakeBack: %v, %v", handled, err)
			}

			want := map[fedinvite.ServerName]int{}
			if c.ok {
				want[serverA], want[serverB] = 1, 1
				if c.server == "" {
					want[serverA], want[serverB] = 10, 10
				}
			}
			if diff := cmp.Diff(want, keys.asked); diff != "" {
				t.Errorf("look-ups -want +got\n%s", diff)
			}
		})
	}
}

// takeBacks are n invites, each of a server of its own, and the leaves that take them back.
func takeBacks(r *room, n int) (keys fedinvite.KeyMap, invites []*fedinvite.Event, leaves []any, ids []string) {
	keys = fedinvite.KeyMap{}
	for i := range n {
		server := fedinvite.ServerName(fmt.Sprintf("s%d.ex", i))
		inviter, invitee := fmt.Sprintf("@x:%s", server), fmt.Sprintf("@u%d:b.ex", i)
		keys.Add(invitetest.Signer(server))
		invite := r.member(invitee, inviter, "invite")
		raw := r.signed(r.Draft(inviter, "m.room.member", invitee, object{"membership": "leave"}), server)
		invites, leaves, ids = append(invites, invite), append(leaves, raw), append(ids, r.Parse(raw).ID())
	}
	return keys, invites, leaves, ids
}

func TestOneTransactionAsksForTheKeysOfFewServers(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	known, invites, leaves, ids := takeBacks(r, 12)
	keys := counted(known)
	s := newInvited(t, invites, func(c *fedserver.TransactionsConfig) { c.Keys = keys })
	first := leaves[0].(json.RawMessage)
	forge := func(depth int) json.RawMessage { return edited(first, func(o object) { o["depth"] = depth }) }
	pdus := append(append([]any{forge(98)}, leaves[1:]...), forge(99)) // the last is of a server that was asked already
	want := object{}
	for _, pdu := range []json.RawMessage{forge(98), forge(99)} {
		want[r.Parse(pdu).ID()] = object{"error": `signature check failed: signature of "s0.ex" with key "ed25519:1"`}
	}
	for i, id := range ids {
		if i == 0 {
			continue
		}
		want[id] = object{}
		if i >= 10 {
			want[id] = object{"error": "signature check failed: leaves of more than 10 servers in one transaction"}
		}
	}
	if status, body := s.send(object{"pdus": pdus}); status != 200 || body != string(encode(object{"pdus": want})) {
		t.Errorf("got %d %s", status, body)
	}
	if len(keys.asked) != 10 || len(s.removed) != 9 {
		t.Errorf("looked up %v, removed %d", keys.asked, len(s.removed))
	}
	// The next transaction is another one.
	if status, body := s.send(object{"pdus": leaves[10:]}); status != 200 || strings.Contains(body, "error") || len(s.removed) != 11 {
		t.Errorf("got %d %s, removed %d", status, body, len(s.removed))
	}
}

// In room versions 1–2 an event may name itself, as its ID is the sender's choice.
func TestALeaveThatComesBeforeItself(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		for _, name := range []string{"prev_events", "auth_events"} {
			t.Run(fmt.Sprint(version, " ", name), func(t *testing.T) {
				r := newRoom(t, version)
				invite := r.invite(bob)
				circular := func(o object) object {
					self := []any{o["event_id"], object{"sha256": strings.Repeat("A", 43)}}
					o[name] = append(o[name].([]any), self)
					return o
				}
				const detail = "bad JSON: the event is among its own prev_events or auth_events"

				leaves := newResident(t, r)
				w := answer(leaves, leaves.sendLetter(r.signed(circular(r.leaveOf(bob)), serverB)).request(t))
				if said := wantRefusal(t, w, 400, fedinvite.CodeBadJSON); said.Message != detail || len(leaves.handled) > 0 {
					t.Errorf("told %q, handled %d", said.Message, len(leaves.handled))
				}

				transactions := newInvited(t, []*fedinvite.Event{invite})
				raw := r.signed(circular(r.rescission(alice)), serverA)
				want := string(encode(object{"pdus": object{r.Parse(raw).ID(): object{"error": detail}}}))
				if status, body := transactions.send(object{"pdus": []any{raw}}); status != 200 || body != want || len(transactions.removed) > 0 {
					t.Errorf("got %d %s, removed %d", status, body, len(transactions.removed))
				}
			})
		}
	}
}

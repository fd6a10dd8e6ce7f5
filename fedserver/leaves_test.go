package fedserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// A resident is serverA with Leaves for one room.
type resident struct {
	*fedserver.Leaves
	t    testing.TB
	room *room

	mu      sync.Mutex
	handled []*fedinvite.Event
	done    []error
}

func newResident(t testing.TB, r *room, change ...func(*fedserver.LeavesConfig)) *resident {
	t.Helper()
	s := &resident{t: t, room: r}
	c := fedserver.LeavesConfig{Endpoint: endpoint(t), Room: r, HandleLeave: func(_ context.Context, e *fedinvite.Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handled = append(s.handled, e)
		return nil
	}}
	c.Done = func(_ *http.Request, _ fedserver.Request, err error) { s.done = append(s.done, err) }
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.Leaves, err = fedserver.NewLeaves(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *resident) makeLetter(userID string, from fedinvite.ServerName) letter {
	return letter{"GET", target("v1", "make_leave", s.room.id, userID), from, serverA, nil}
}

// sendLetter is serverB's request to send this leave, to the path that is right for it.
func (s *resident) sendLetter(e json.RawMessage) letter {
	return letter{"PUT", target("v2", "send_leave", s.room.id, s.idOf(e)), serverB, serverA, e}
}

func (s *resident) idOf(e json.RawMessage) string {
	s.t.Helper()
	parsed, err := fedinvite.ParseStored(e, s.room.rules)
	if err != nil {
		s.t.Fatal(err)
	}
	return parsed.ID()
}

// handledOnce demands that one event was handled, validly signed by serverB.
func (s *resident) handledOnce(id string) *fedinvite.Event {
	s.t.Helper()
	if len(s.handled) != 1 || s.handled[0].ID() != id {
		s.t.Fatalf("handled %v, want %s once", s.handled, id)
	}
	if err := s.handled[0].Verify(s.t.Context(), allKeys(), serverB); err != nil {
		s.t.Error(err)
	}
	return s.handled[0]
}

func TestAUserOfAnotherServerDeclines(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			r := newRoom(t, version)
			invite := r.invite(bob)
			s := newResident(t, r)
			n := newNetwork(map[fedinvite.ServerName]http.Handler{serverA: s})
			declined, err := n.client(t).Decline(t.Context(), fedclient.DeclineRequest{
				Invite: invite, Signer: invitetest.Signer(serverB), Time: now, Content: json.RawMessage(`{"reason":"<no>"}`),
			})
			if err != nil || declined.Server != serverA || declined.Err != nil {
				t.Fatalf("got %+v, %v; asked %v", declined, err, n.requests)
			}
			e := s.handledOnce(declined.Event.ID())
			if e.Membership() != "leave" || e.ContentJSON("reason") != `"<no>"` || e.Depth() != r.last().Depth()+1 {
				t.Errorf("got %s", e.AppendJSON(nil))
			}
			// What was handled goes into the room: the rules hold for its own auth_events.
			var auth []*fedinvite.Event
			for _, id := range e.AuthEventIDs() {
				for _, of := range r.State() {
					if of.ID() == id {
						auth = append(auth, of)
					}
				}
			}
			if err := eventauth.CheckAuthEvents(e, auth); err != nil || len(auth) < 2 {
				t.Errorf("%d auth_events: %v", len(auth), err)
			}
			if diff := cmp.Diff([]string{invite.ID()}, e.PrevEventIDs()); diff != "" {
				t.Errorf("prev_events -want +got\n%s", diff)
			}
		})
	}
}

func TestScenario63_TheResidentServerRefusesSoTheLeaveIsLocal(t *testing.T) {
	for name, change := range map[string]func(*fedserver.LeavesConfig){
		"403": func(c *fedserver.LeavesConfig) { c.ServerAllowed = deny(serverB) },
		"500": func(c *fedserver.LeavesConfig) {
			c.ServerAllowed = func(context.Context, string, fedinvite.ServerName) (bool, error) { return false, errors.New("down") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			invite := r.invite(bob)
			s := newResident(t, r, change)
			n := newNetwork(map[fedinvite.ServerName]http.Handler{serverA: s})
			declined, err := n.client(t).Decline(t.Context(), fedclient.DeclineRequest{Invite: invite, Signer: invitetest.Signer(serverB), Time: now})
			if err != nil || declined.Server != "" || declined.Event == nil || len(s.handled) > 0 {
				t.Errorf("got %+v, %v", declined, err)
			}
		})
	}
}

func TestTheTemplate(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	invite := r.invite(bob)
	s := newResident(t, r)
	w := answer(s, s.makeLetter(bob, serverB).request(t))
	wantOK(t, w, "")
	var got any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := object{"room_version": "11", "event": object{
		"room_id": r.id, "sender": bob, "state_key": bob, "type": "m.room.member", "origin": "a.ex",
		"content": object{"membership": "leave"}, "depth": float64(invite.Depth() + 1), "origin_server_ts": float64(now.UnixMilli()),
		"auth_events": []any{r.Get("m.room.create", "").ID(), r.Get("m.room.power_levels", "").ID(), invite.ID()},
		"prev_events": []any{invite.ID()},
	}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(s.done) != 1 || s.done[0] != nil {
		t.Errorf("Done got %v", s.done)
	}
}

func TestTemplatesWithoutAClockAreOfTheTimeOfTheSystem(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	s := newResident(t, r, func(c *fedserver.LeavesConfig) { c.Now = nil })
	before := time.Now().UnixMilli()
	template, err := s.Make(t.Context(), serverB, serverA, r.id, bob)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Time int64 `json:"origin_server_ts"`
	}
	if err := json.Unmarshal(template.Event, &e); err != nil || e.Time < before || e.Time > time.Now().UnixMilli() {
		t.Errorf("a template of %d, made at %d: %v", e.Time, before, err)
	}
}

func TestTheTemplateHasAtMost20PrevEventsAndKeepsTheDepthsCap(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	r.spoil = func(s *fedclient.Snapshot) {
		s.Depth = r.rules.MaxDepth
		for i := range 29 {
			s.Extremities = append(s.Extremities, fedinvite.EventRef{ID: "$" + strings.Repeat("x", i+1)})
		}
	}
	template, err := newResident(t, r).Make(t.Context(), serverB, serverA, r.id, bob)
	if err != nil {
		t.Fatal(err)
	}
	e, err := template.Sign(t.Context(), leave.Departure{RoomID: r.id, UserID: bob, Time: now}, r.rules, invitetest.Signer(serverB))
	if err != nil {
		t.Fatal(err)
	}
	if len(e.PrevEventIDs()) != 20 || e.Depth() != r.rules.MaxDepth {
		t.Errorf("%d prev_events, depth %d", len(e.PrevEventIDs()), e.Depth())
	}
}

// unasked is a room that must not be asked.
func unasked(r *room) { r.err = errors.New("asked") }

func TestMakeLeaveRefuses(t *testing.T) {
	hook := func(err error) func(context.Context, string, fedinvite.ServerName) (bool, error) {
		return func(context.Context, string, fedinvite.ServerName) (bool, error) { return true, err }
	}
	for _, c := range []struct {
		name   string
		letter func(l *letter, r *room)
		config func(*fedserver.LeavesConfig)
		room   func(r *room)
		status int
		code   fedinvite.Code
	}{
		{"a user who is not in the room", func(l *letter, r *room) { l.target = target("v1", "make_leave", r.id, "@nobody:b.ex") }, nil, nil, 403, "M_FORBIDDEN"},
		{"a user who is banned", nil, nil, func(r *room) { r.member(bob, alice, "ban") }, 403, "M_FORBIDDEN"},
		{"a user of another server than the origin", func(l *letter, _ *room) { l.from = serverC }, nil, nil, 403, "M_FORBIDDEN"},
		{"no user ID", func(l *letter, r *room) { l.target = target("v1", "make_leave", r.id, "bob") }, nil, nil, 403, "M_FORBIDDEN"},
		{"another room", func(l *letter, _ *room) { l.target = target("v1", "make_leave", "!other:a.ex", bob) }, nil, nil, 404, "M_NOT_FOUND"},
		{"no room ID", func(l *letter, _ *room) { l.target = target("v1", "make_leave", "#r:a.ex", bob) }, nil, unasked, 404, "M_NOT_FOUND"},
		{"a room ID of 256 bytes", func(l *letter, _ *room) { l.target = target("v1", "make_leave", "!"+strings.Repeat("r", 255), bob) }, nil, unasked, 404, "M_NOT_FOUND"},
		{"a server that the ACL denies", nil, func(c *fedserver.LeavesConfig) { c.ServerAllowed = deny(serverB) }, nil, 403, "M_FORBIDDEN"},
		{"when ServerAllowed refuses", nil, func(c *fedserver.LeavesConfig) {
			c.ServerAllowed = hook(fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly"))
		}, nil, 429, "M_LIMIT_EXCEEDED"},
		{"when ServerAllowed fails with a sentinel of ours", nil, func(c *fedserver.LeavesConfig) { c.ServerAllowed = hook(fedinvite.ErrMismatch) }, nil, 500, "M_UNKNOWN"},
		{"when Room fails", nil, nil, func(r *room) { r.err = fedinvite.ErrBadJSON }, 500, "M_UNKNOWN"},
		{"when Room refuses", nil, nil, func(r *room) { r.err = fedinvite.Refuse(fedinvite.CodeForbidden, "closed") }, 403, "M_FORBIDDEN"},
		{"a snapshot of an unknown room version", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.Version = "99" } }, 500, "M_UNKNOWN"},
		{"a snapshot without extremities", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.Extremities = nil } }, 500, "M_UNKNOWN"},
		{"a snapshot without a create event", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.State = nil } }, 500, "M_UNKNOWN"},
		{"a snapshot with two events for one key", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.State = append(s.State, s.State...) } }, 500, "M_UNKNOWN"},
		{"no snapshot", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { *s = fedclient.Snapshot{} } }, 500, "M_UNKNOWN"},
		{"an extremity without an ID", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.Extremities[0].ID = "" } }, 500, "M_UNKNOWN"},
		{"state by other rules", nil, func(c *fedserver.LeavesConfig) {
			c.Rules = func(v fedinvite.RoomVersion) (fedinvite.Rules, error) {
				rules, err := v.Rules()
				rules.Auth.Knock = false
				return rules, err
			}
		}, nil, 500, "M_UNKNOWN"},
		{"state that is none", nil, nil, func(r *room) {
			message := r.Draft(alice, "m.room.message", "", object{})
			delete(message, "state_key")
			e := r.Parse(r.signed(message, serverA))
			r.spoil = func(s *fedclient.Snapshot) { s.State = append(s.State, e) }
		}, 500, "M_UNKNOWN"},
		{"when Rules fails", nil, func(c *fedserver.LeavesConfig) {
			c.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.Rules{}, errors.New("secret") }
		}, nil, 500, "M_UNKNOWN"},
		{"rules that say nothing", nil, func(c *fedserver.LeavesConfig) {
			c.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.Rules{}, nil }
		}, nil, 500, "M_UNKNOWN"},
		{"a snapshot with a negative depth", nil, nil, func(r *room) { r.spoil = func(s *fedclient.Snapshot) { s.Depth = -1 } }, 500, "M_UNKNOWN"},
		{"a snapshot with an event of another room", nil, nil, func(r *room) {
			name := r.Draft(alice, "m.room.name", "", object{})
			name["room_id"] = "!other:a.ex"
			e := r.Parse(r.signed(name, serverA))
			r.spoil = func(s *fedclient.Snapshot) { s.State = append(s.State, e) }
		}, 500, "M_UNKNOWN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			r.invite(bob)
			if c.room != nil {
				c.room(r)
			}
			var configs []func(*fedserver.LeavesConfig)
			if c.config != nil {
				configs = append(configs, c.config)
			}
			s := newResident(t, r, configs...)
			l := s.makeLetter(bob, serverB)
			if c.letter != nil {
				c.letter(&l, r)
			}
			body := wantRefusal(t, answer(s, l.request(t)), c.status, c.code)
			if c.status == 500 && body.Message != "internal error" {
				t.Errorf("the peer is told %q", body.Message)
			}
			if len(s.done) != 1 || s.done[0] == nil {
				t.Errorf("Done got %v", s.done)
			}
		})
	}
}

func TestSendLeaveRefuses(t *testing.T) {
	change := func(keys ...any) func(*room, object) {
		return func(_ *room, o object) {
			for i := 0; i < len(keys); i += 2 {
				o[keys[i].(string)] = keys[i+1]
			}
		}
	}
	for _, c := range []struct {
		name  string
		event func(r *room, o object)
		after func(t *testing.T, s *resident, l *letter) // the event is signed
		code  fedinvite.Code
		is    error
	}{
		// The list of the endpoint (server-server API, PUT send_leave).
		{"the leave event fails a signature check", nil, func(t *testing.T, s *resident, l *letter) {
			*l = s.sendLetter(s.room.signed(s.room.leaveOf(bob), serverC))
		}, "M_INVALID_PARAM", fedinvite.ErrSignature},
		{"the signature is of another event", nil, func(t *testing.T, s *resident, l *letter) {
			var o object
			if err := json.Unmarshal(l.body, &o); err != nil {
				t.Fatal(err)
			}
			o["depth"] = 77
			*l = s.sendLetter(encode(o))
		}, "M_INVALID_PARAM", fedinvite.ErrSignature},
		{"the event type is not m.room.member", change("type", "m.room.name"), nil, "M_INVALID_PARAM", fedinvite.ErrNotLeave},
		{"the membership is not leave", change("content", object{"membership": "join"}), nil, "M_INVALID_PARAM", fedinvite.ErrNotLeave},
		{"there is no membership", change("content", object{}), nil, "M_INVALID_PARAM", fedinvite.ErrNotLeave},
		{"the sender is not on the origin server", change("sender", carol, "state_key", carol), nil, "M_INVALID_PARAM", fedinvite.ErrOrigin},
		{"the sender is a user of ours", change("sender", alice, "state_key", alice), nil, "M_INVALID_PARAM", fedinvite.ErrOrigin},
		{"the state_key is not the sender", change("state_key", alice), nil, "M_INVALID_PARAM", fedinvite.ErrMismatch},
		{"there is no state_key", func(_ *room, o object) { delete(o, "state_key") }, nil, "M_INVALID_PARAM", nil},
		// And what the path says.
		{"the room of the path is another", nil, func(t *testing.T, s *resident, l *letter) {
			l.target = target("v2", "send_leave", "!other:a.ex", s.idOf(l.body))
		}, "M_NOT_FOUND", nil},
		{"the room of the event is another", change("room_id", "!other:a.ex"), nil, "M_INVALID_PARAM", fedinvite.ErrMismatch},
		{"the event ID of the path is another", nil, func(t *testing.T, s *resident, l *letter) {
			l.target = target("v2", "send_leave", s.room.id, "$"+strings.Repeat("x", 43))
		}, "M_INVALID_PARAM", fedinvite.ErrMismatch},
		// And the format.
		{"a number that the room version does not have", nil, func(t *testing.T, s *resident, l *letter) {
			old := newRoom(t, fedinvite.RoomV5)
			o := s.room.leaveOf(bob)
			o["content"] = object{"membership": "leave", "n": 1.5}
			l.body = old.signed(o, serverB)
		}, "M_BAD_JSON", fedinvite.ErrBadNumber},
		{"no sender", func(_ *room, o object) { delete(o, "sender") }, func(_ *testing.T, s *resident, l *letter) {}, "M_BAD_JSON", fedinvite.ErrBadJSON},
		{"a name twice", nil, func(t *testing.T, s *resident, l *letter) {
			l.body = append([]byte(`{"s\u0065nder":"@carol:c.ex",`), l.body[1:]...)
		}, "M_BAD_JSON", fedinvite.ErrDuplicateKey},
		{"an array", nil, func(_ *testing.T, _ *resident, l *letter) { l.body = []byte(`[]`) }, "M_BAD_JSON", fedinvite.ErrBadJSON},
		{"an empty body", nil, func(_ *testing.T, _ *resident, l *letter) { l.body = nil }, "M_NOT_JSON", fedinvite.ErrNotJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			r.invite(bob)
			s := newResident(t, r)
			o := r.leaveOf(bob)
			if c.event != nil {
				c.event(r, o)
			}
			raw := r.signed(o, serverB, serverC)
			l := letter{"PUT", target("v2", "send_leave", r.id, "$x"), serverB, serverA, raw}
			if e, err := fedinvite.ParseStored(raw, r.rules); err == nil {
				l.target = target("v2", "send_leave", r.id, e.ID())
			}
			if c.after != nil {
				c.after(t, s, &l)
			}
			status := http.StatusBadRequest
			if c.code == fedinvite.CodeNotFound {
				status = http.StatusNotFound
			}
			wantRefusal(t, answer(s, sloppy(t, l)), status, c.code)
			if len(s.handled) > 0 {
				t.Errorf("handled %s", s.handled[0].AppendJSON(nil))
			}
			if c.is != nil && !errors.Is(s.done[0], c.is) {
				t.Errorf("Done got %v, want %v", s.done[0], c.is)
			}
		})
	}
}

func TestSendLeaveIsAuthorised(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(r *room)
		allow bool
	}{
		{"invited", func(r *room) { r.invite(bob) }, true},
		{"joined", func(r *room) {
			r.invite(bob)
			r.member(bob, bob, "join")
		}, true},
		{"knocking", func(r *room) { r.member(bob, bob, "knock") }, true},
		{"never there", func(*room) {}, false},
		{"banned", func(r *room) { r.member(bob, alice, "ban") }, false},
		{"kicked", func(r *room) { r.member(bob, alice, "leave") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			c.setup(r)
			s := newResident(t, r)
			w := answer(s, s.sendLetter(r.signed(r.leaveOf(bob), serverB)).request(t))
			if c.allow {
				wantOK(t, w, `{}`)
			} else {
				wantRefusal(t, w, 403, fedinvite.CodeForbidden)
			}
			if c.allow != (len(s.handled) == 1) {
				t.Errorf("handled %d", len(s.handled))
			}
		})
	}
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV11, fedinvite.RoomV12} {
		t.Run("auth_events by which it is not allowed, v"+string(version), func(t *testing.T) {
			r := newRoom(t, version)
			r.invite(bob)
			s := newResident(t, r)
			o := r.leaveOf(bob)
			o["auth_events"] = o["auth_events"].([]any)[:1] // the power levels
			w := answer(s, s.sendLetter(r.signed(o, serverB)).request(t))
			wantRefusal(t, w, 403, fedinvite.CodeForbidden)
		})
	}
	t.Run("auth_events that name one event twice", func(t *testing.T) {
		for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11, fedinvite.RoomV12} {
			r := newRoom(t, version)
			r.invite(bob)
			s := newResident(t, r)
			o := r.leaveOf(bob)
			auth := o["auth_events"].([]any)
			o["auth_events"] = append(auth, auth[0])
			w := answer(s, s.sendLetter(r.signed(o, serverB)).request(t))
			wantRefusal(t, w, 403, fedinvite.CodeForbidden)
		}
	})
	t.Run("auth_events of a while ago are for the store to look at", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV11)
		r.invite(bob)
		o := r.leaveOf(bob)
		r.SetAs(alice, "m.room.power_levels", "", object{"users": object{alice: 100}, "invite": 1})
		s := newResident(t, r)
		raw := r.signed(o, serverB)
		wantOK(t, answer(s, s.sendLetter(raw).request(t)), `{}`)
		s.handledOnce(s.idOf(raw))
	})
}

func TestSendLeaveOfOldServers(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV1)
	r.invite(bob)
	s := newResident(t, r)
	raw := r.signed(r.leaveOf(bob), serverB)
	l := s.sendLetter(raw)
	l.target = target("v1", "send_leave", r.id, s.idOf(raw))
	wantOK(t, answer(s, l.request(t)), `[200,{}]`)
	s.handledOnce(s.idOf(raw))
}

func TestSendLeaveTwice(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV12} {
		r := newRoom(t, version)
		r.invite(bob)
		s := newResident(t, r)
		l := s.sendLetter(r.signed(r.leaveOf(bob), serverB))
		wantOK(t, answer(s, l.request(t)), `{}`)
		wantOK(t, answer(s, l.request(t)), `{}`)
		if len(s.handled) != 2 {
			t.Errorf("handled %d times before it was in the room", len(s.handled))
		}
		r.Add(s.handled[0])
		wantOK(t, answer(s, l.request(t)), `{}`)
		if len(s.handled) != 2 {
			t.Error("handled though the room has it")
		}
	}
	t.Run("another event with the same ID", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV1)
		r.invite(bob)
		s := newResident(t, r)
		o := r.leaveOf(bob)
		wantOK(t, answer(s, s.sendLetter(r.signed(o, serverB)).request(t)), `{}`)
		r.Add(s.handled[0])
		o["depth"] = 99
		wantRefusal(t, answer(s, s.sendLetter(r.signed(o, serverB)).request(t)), 403, fedinvite.CodeForbidden)
	})
}

func TestSendLeaveKeepsNothingThatNobodyVouchesFor(t *testing.T) {
	for name, change := range map[string]func(o object){
		"unsigned": func(o object) { o["unsigned"] = object{"prev_content": object{"membership": "ban"}} },
		"content":  func(o object) { o["content"].(object)["reason"] = "added under way" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			r.invite(bob)
			s := newResident(t, r)
			raw := r.signed(r.leaveOf(bob), serverB)
			wantOK(t, answer(s, s.sendLetter(edited(raw, change)).request(t)), `{}`)
			e := s.handledOnce(s.idOf(raw))
			if e.Unsigned() != nil || string(e.Content()) != `{"membership":"leave"}` {
				t.Errorf("handled %s", e.AppendJSON(nil))
			}
		})
	}
}

func TestSendLeaveHooks(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   fedinvite.Code
	}{
		{fedinvite.Refuse(fedinvite.CodeForbidden, "no"), 403, "M_FORBIDDEN"},
		{fedinvite.ErrMismatch, 500, "M_UNKNOWN"},
		{fedinvite.ErrKeysUnavailable, 500, "M_UNKNOWN"},
		{errors.New("secret"), 500, "M_UNKNOWN"},
	} {
		r := newRoom(t, fedinvite.RoomV11)
		r.invite(bob)
		s := newResident(t, r, func(c2 *fedserver.LeavesConfig) {
			c2.HandleLeave = func(context.Context, *fedinvite.Event) error { return c.err }
		})
		w := answer(s, s.sendLetter(r.signed(r.leaveOf(bob), serverB)).request(t))
		wantRefusal(t, w, c.status, c.code)
		if strings.Contains(w.Body.String(), "secret") || !errors.Is(s.done[0], c.err) {
			t.Errorf("%v: the peer is told %s, Done %v", c.err, w.Body, s.done)
		}
	}
	t.Run("ACL", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV11)
		r.invite(bob)
		s := newResident(t, r, func(c *fedserver.LeavesConfig) { c.ServerAllowed = deny(serverB) })
		wantRefusal(t, answer(s, s.sendLetter(r.signed(r.leaveOf(bob), serverB)).request(t)), 403, fedinvite.CodeForbidden)
		if len(s.handled) > 0 || !errors.Is(s.done[0], fedinvite.ErrServerDenied) {
			t.Errorf("handled %d, %v", len(s.handled), s.done)
		}
	})
	t.Run("keys unavailable", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV11)
		r.invite(bob)
		s := newResident(t, r, func(c *fedserver.LeavesConfig) { c.Keys = brokenKeys{} })
		wantRefusal(t, answer(s, s.sendLetter(r.signed(r.leaveOf(bob), serverB)).request(t)), 503, fedinvite.CodeUnknown)
		if len(s.handled) > 0 {
			t.Error("handled")
		}
	})
}

func TestASnapshotMayHoldMore(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	other := r.Get("m.room.member", albert)
	r.spoil = func(s *fedclient.Snapshot) { s.State = append(s.State, nil, other, other) }
	if _, err := newResident(t, r).Make(t.Context(), serverB, serverA, r.id, bob); err != nil {
		t.Error(err)
	}
}

func TestExtremitiesOfOldRoomVersionsNeedTheirHash(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV2)
	r.invite(bob)
	r.spoil = func(s *fedclient.Snapshot) { s.Extremities[0].SHA256 = nil }
	_, err := newResident(t, r).Make(t.Context(), serverB, serverA, r.id, bob)
	if !errors.Is(err, fedclient.ErrSnapshot) || fedinvite.WireError(err).Status != http.StatusInternalServerError {
		t.Errorf("got %v", err)
	}
}

func TestACustomRoomVersion(t *testing.T) {
	custom := rulesOf(t, fedinvite.RoomV11)
	custom.Version = "org.example.11"
	r := newRoomOf(custom)
	r.invite(bob)
	s := newResident(t, r, func(c *fedserver.LeavesConfig) {
		c.Rules = func(v fedinvite.RoomVersion) (fedinvite.Rules, error) {
			if v == custom.Version {
				return custom, nil
			}
			return v.Rules()
		}
	})
	template, err := s.Make(t.Context(), serverB, serverA, r.id, bob)
	if err != nil || template.RoomVersion != custom.Version {
		t.Fatalf("got %+v, %v", template, err)
	}
	e, err := template.Sign(t.Context(), leave.Departure{RoomID: r.id, UserID: bob, Time: now}, custom, invitetest.Signer(serverB))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), serverB, r.id, e.ID(), e.AppendJSON(nil)); err != nil {
		t.Fatal(err)
	}
	s.handledOnce(e.ID())
}

// What HTTP needs no second look at, because xmatrix has looked, counts without it too.
func TestSendWithoutHTTP(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	s := newResident(t, r)
	raw := r.signed(r.leaveOf(bob), serverB)
	id := s.idOf(raw)
	for body, want := range map[string]error{
		``:   fedinvite.ErrNotJSON,
		`[]`: fedinvite.ErrBadJSON,
		`{}`: fedinvite.ErrBadJSON,
		`{"sender":"@bob:b.ex","s\u0065nder":"@bob:b.ex"` + "," + string(raw[1:]): fedinvite.ErrDuplicateKey,
		string(raw) + `{}`: fedinvite.ErrNotJSON,
	} {
		if err := s.Send(t.Context(), serverB, r.id, id, []byte(body)); !errors.Is(err, want) || len(s.handled) > 0 {
			t.Errorf("%s: got %v, want %v", body, err, want)
		}
	}
	unasked(r) // about the members of other servers
	if err := s.Send(t.Context(), serverC, r.id, id, raw); !errors.Is(err, fedinvite.ErrOrigin) {
		t.Errorf("got %v", err)
	}
	r.err = nil
	if err := s.Send(t.Context(), serverB, r.id, id, raw); err != nil {
		t.Error(err)
	}
	s.handledOnce(id)
}

func TestLeavesAtTheSameTime(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	s := newResident(t, r)
	raw := r.signed(r.leaveOf(bob), serverB)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := s.Make(t.Context(), serverB, serverA, r.id, bob); err != nil {
				t.Error(err)
			}
			if err := s.Send(t.Context(), serverB, r.id, s.idOf(raw), raw); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

package fedserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
)

// A call is one of Next, or of EDU if roomID is "edu".
type call struct {
	roomID string
	json   string
}

// hooks are Next and EDU of a server with rooms, which remember how they were called.
type hooks struct {
	t     testing.TB
	mu    sync.Mutex
	calls []call
	say   func(pdu string) (eventID string, err error) // nil: "", nil
}

func (h *hooks) mount(c *fedserver.TransactionsConfig) {
	c.Next = func(_ context.Context, r fedserver.Request, roomID string, pdu json.RawMessage) (string, error) {
		h.add(r, call{roomID, string(pdu)})
		if h.say == nil {
			return "", nil
		}
		return h.say(string(pdu))
	}
	c.EDU = func(_ context.Context, r fedserver.Request, edu json.RawMessage) { h.add(r, call{"edu", string(edu)}) }
}

func (h *hooks) add(r fedserver.Request, c call) {
	if r.Origin != serverA || r.Destination != serverB || len(r.Body) == 0 {
		h.t.Errorf("called for the request %+v", r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
}

func (h *hooks) want(calls ...call) {
	h.t.Helper()
	if !slices.Equal(h.calls, calls) {
		h.t.Errorf("called\n%q, want\n%q", h.calls, calls)
	}
}

// canonical is what Next gets of raw.
func canonical(t testing.TB, raw []byte) string {
	t.Helper()
	text, err := fedinvite.LegacyCanonicalJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNextGetsWhatTakesNoInviteBack(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			r := newRoom(t, version)
			invite := r.invite(bob)
			rescission := r.signed(r.rescission(alice), serverA)
			byAlbert := r.signed(r.rescission(albert), serverA)
			create := json.RawMessage(r.Get("m.room.create", "").AppendJSON(nil))
			h := &hooks{t: t}
			s := newInvited(t, []*fedinvite.Event{invite}, h.mount)
			status, body := s.send(object{
				"pdus": []any{byAlbert, 7, create, rescission, object{"room_id": r.id, "a": 1.5}},
				"edus": []any{object{"edu_type": "m.typing"}, nil, object{"edu_type": "m.receipt"}},
			})
			if status != 200 || strings.Contains(body, "error") || len(s.removed) != 1 {
				t.Errorf("got %d %s, removed %d", status, body, len(s.removed))
			}
			createdIn := r.id
			if r.rules.RoomIDIsCreateEvent {
				createdIn = ""
			}
			h.want(
				call{r.id, canonical(t, byAlbert)}, call{createdIn, canonical(t, create)}, call{r.id, canonical(t, encode(object{"room_id": r.id, "a": 1.5}))},
				call{"edu", `{"edu_type":"m.typing"}`}, call{"edu", `{"edu_type":"m.receipt"}`},
			)
			if e := r.Parse(json.RawMessage(h.calls[0].json)); e.Verify(t.Context(), allKeys(), serverA) != nil || !e.HashOK() {
				t.Error("what Next gets is no longer what was signed")
			}
		})
	}
}

func TestNextIsCalledIfThereIsNoInvite(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	raw := r.signed(r.rescission(alice), serverA)
	h := &hooks{t: t, say: func(string) (string, error) { return "$told", nil }}
	s := newInvited(t, nil, h.mount)
	if status, body := s.send(object{"pdus": []any{raw}}); status != 200 || body != `{"pdus":{"$told":{}}}` || s.asked != 1 {
		t.Errorf("got %d %s, asked %d", status, body, s.asked)
	}
	h.want(call{r.id, canonical(t, raw)})
}

// An invite whose author gave it a false room version must not keep events from a room.
func TestWhatTheVersionOfTheInviteCannotReadIsForNext(t *testing.T) {
	old, r := newRoom(t, fedinvite.RoomV1), newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	raw := r.signed(r.rescission(alice), serverA) // has no event_id
	h := &hooks{t: t}
	s := newInvited(t, []*fedinvite.Event{old.invite(bob)}, h.mount)
	if status, body := s.send(object{"pdus": []any{raw}}); status != 200 || body != `{"pdus":{}}` {
		t.Errorf("got %d %s", status, body)
	}
	h.want(call{r.id, canonical(t, raw)})
}

func TestNextDoesNotGetAForgedRescission(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	h := &hooks{t: t}
	s := newInvited(t, []*fedinvite.Event{r.invite(bob)}, h.mount)
	status, body := s.send(object{"pdus": []any{r.signed(r.rescission(alice), serverC)}})
	if status != 200 || !strings.Contains(body, "signature check failed") || len(s.removed) > 0 {
		t.Errorf("got %d %s, removed %d", status, body, len(s.removed))
	}
	h.want()
}

func TestTakeBackDoesNotCallNext(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	h := &hooks{t: t}
	s := newInvited(t, nil, h.mount)
	if handled, err := s.TakeBack(t.Context(), r.signed(r.rescission(alice), serverA)); handled || err != nil {
		t.Errorf("got %v, %v", handled, err)
	}
	h.want()
}

func TestResultsOfNext(t *testing.T) {
	refused := fedinvite.Refuse(fedinvite.CodeForbidden, "not here")
	for _, c := range []struct {
		name string
		pdu  object
		id   string
		err  error
		want object
	}{
		{"the ID that Next tells", object{}, "$e", nil, object{"$e": object{}}},
		{"… comes before the one in the PDU", object{"event_id": "$own:a.ex"}, "$e", nil, object{"$e": object{}}},
		{"the event_id of the PDU", object{"event_id": "$own:a.ex"}, "", nil, object{"$own:a.ex": object{}}},
		{"an event_id that is none", object{"event_id": "own"}, "", nil, object{}},
		{"no ID", object{}, "", nil, object{}},
		{"a refusal", object{}, "$e", refused, object{"$e": object{"error": "not here"}}},
		{"a refusal, wrapped", object{}, "$e", fmt.Errorf("secret: %w", refused), object{"$e": object{"error": "not here"}}},
		{"a refusal, of the PDU's own ID", object{"event_id": "$own:a.ex"}, "", refused, object{"$own:a.ex": object{"error": "not here"}}},
		{"a refusal without ID", object{}, "", refused, object{}},
		{"a refusal without message", object{}, "$e", fedinvite.Refuse(fedinvite.CodeForbidden, ""), object{"$e": object{"error": "M_FORBIDDEN"}}},
		{"what WireError makes of a sentinel", object{}, "$e", fedinvite.WireError(fedinvite.ErrServerDenied), object{"$e": object{"error": fedinvite.ErrServerDenied.Error()}}},
		{
			"a refusal because keys could not be had", object{}, "$e",
			&fedinvite.Error{Code: fedinvite.CodeForbidden, Message: "no keys", Err: fedinvite.ErrKeysUnavailable},
			object{"$e": object{"error": "no keys"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hooks{t: t, say: func(string) (string, error) { return c.id, c.err }}
			s := newInvited(t, nil, h.mount)
			status, body := s.send(object{"pdus": []any{c.pdu}, "edus": []any{object{}}})
			if want := string(encode(object{"pdus": c.want})); status != 200 || body != want {
				t.Errorf("got %d %s, want %s", status, body, want)
			}
			if len(h.calls) != 2 {
				t.Errorf("calls %q", h.calls)
			}
		})
	}
}

// As for the other hooks: a result would be the end of the event.
func TestNextFailsTheWholeTransactionForWhatMayPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		status  int
		message string
	}{
		{"no refusal", errors.New("secret"), 500, "internal error"},
		{"a sentinel, which says nothing of the request", fedinvite.ErrSignature, 500, "internal error"},
		{"an Error that is nil", (*fedinvite.Error)(nil), 500, "internal error"},
		{"status 500", &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: 500, Message: "later"}, 500, "later"},
		{"no keys", fedinvite.WireError(fedinvite.ErrKeysUnavailable), 503, fedinvite.ErrKeysUnavailable.Error()},
		{"busy", fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly"), 429, "slowly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			h := &hooks{t: t, say: func(pdu string) (string, error) {
				if strings.Contains(pdu, "bad") {
					return "$bad", c.err
				}
				return "$good", nil
			}}
			s := newInvited(t, []*fedinvite.Event{r.invite(bob)}, h.mount)
			status, body := s.send(object{
				"pdus": []any{object{"n": "good"}, object{"n": "bad"}, object{"n": "behind"}, r.signed(r.rescission(alice), serverA)},
				"edus": []any{object{}},
			})
			var told said
			if err := json.Unmarshal([]byte(body), &told); err != nil || status != c.status || told.Message != c.message {
				t.Errorf("got %d %s (%v)", status, body, err)
			}
			h.want(call{"", `{"n":"good"}`}, call{"", `{"n":"bad"}`})
			if len(s.removed) != 1 {
				t.Error("the invite was not taken back")
			}
			if len(s.done) != 1 || !errors.Is(s.done[0], c.err) {
				t.Errorf("Done got %v", s.done)
			}
		})
	}
	t.Run("of another hook", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV11)
		h := &hooks{t: t}
		s := newInvited(t, []*fedinvite.Event{r.invite(bob)}, h.mount, func(c *fedserver.TransactionsConfig) {
			c.Invite = func(context.Context, fedinvite.ServerName, string, string) (*fedinvite.Event, error) {
				return nil, errors.New("secret")
			}
		})
		status, body := s.send(object{"pdus": []any{r.signed(r.rescission(alice), serverA), object{}}, "edus": []any{object{}}})
		if status != 500 || strings.Contains(body, "secret") {
			t.Errorf("got %d %s", status, body)
		}
		h.want(call{"", `{}`}) // the leave may be ours, and the EDU comes again
	})
}

func TestRoomIDsForNext(t *testing.T) {
	for raw, want := range map[string]string{
		`{"room_id":"!r:a.ex"}`: "!r:a.ex", `{"room_id":"!Aa_-"}`: "!Aa_-",
		`{}`: "", `{"room_id":7}`: "", `{"room_id":null}`: "", `{"room_id":{"room_id":"!r"}}`: "", `{"room_id":"r:a.ex"}`: "",
		`{"room_id":"!` + strings.Repeat("r", 255) + `"}`: "", `{"Room_id":"!r"}`: "",
	} {
		h := &hooks{t: t}
		s := newInvited(t, nil, h.mount)
		if status, body := s.send(object{"pdus": []any{json.RawMessage(raw)}}); status != 200 {
			t.Errorf("got %d %s", status, body)
		}
		h.want(call{want, raw})
	}
}

// A transaction has 50 PDUs and 100 EDUs at most, and they are handled one by one.
func TestFullTransactionsAtOnce(t *testing.T) {
	const peers = 4
	h := &hooks{t: t, say: func(pdu string) (string, error) { return "$" + strings.Trim(pdu, `{}":n`), nil }}
	s := newInvited(t, nil, h.mount, func(c *fedserver.TransactionsConfig) { c.Done = nil })
	var group sync.WaitGroup
	for peer := range peers {
		group.Go(func() {
			pdus, edus, want := []any{}, []any{}, object{}
			for i := range 50 {
				n := peer*1000 + i
				pdus, want[fmt.Sprint("$", n)] = append(pdus, object{"n": n}), object{}
			}
			for i := range 100 {
				edus = append(edus, object{"n": peer*1000 + 100 + i})
			}
			status, body := s.send(object{"pdus": pdus, "edus": edus})
			if want := string(encode(object{"pdus": want})); status != 200 || body != want {
				t.Errorf("got %d %s, want %s", status, body, want)
			}
		})
	}
	group.Wait()
	last, count := map[int]int{}, 0
	for _, c := range h.calls {
		var n struct{ N int }
		if err := json.Unmarshal([]byte(c.json), &n); err != nil {
			t.Fatal(err)
		}
		peer := n.N / 1000
		if before, ok := last[peer]; ok && n.N <= before {
			t.Errorf("%d after %d", n.N, before)
		}
		last[peer] = n.N
		count++
	}
	if count != peers*150 {
		t.Errorf("%d calls", count)
	}
}

// What a hook keeps or changes is its own.
func TestNextMayKeepAndChangeWhatItGets(t *testing.T) {
	var kept []json.RawMessage
	s := newInvited(t, nil, func(c *fedserver.TransactionsConfig) {
		c.Next = func(_ context.Context, _ fedserver.Request, _ string, pdu json.RawMessage) (string, error) {
			for i := range pdu[:cap(pdu)] {
				pdu[:cap(pdu)][i] = 'x'
			}
			kept = append(kept, pdu)
			return "", nil
		}
		c.EDU = func(_ context.Context, _ fedserver.Request, edu json.RawMessage) { kept = append(kept, edu) }
	})
	status, body := s.send(object{"pdus": []any{object{"event_id": "$a"}, object{"event_id": "$b"}}, "edus": []any{object{"c": 1}}})
	if status != 200 || body != `{"pdus":{"$a":{},"$b":{}}}` || len(kept) != 3 || string(kept[2]) != `{"c":1}` {
		t.Errorf("got %d %s, kept %s", status, body, kept)
	}
}

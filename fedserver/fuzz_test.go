package fedserver_test

import (
	"encoding/json"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
)

// wantAnswer demands of a handler that it answers, whatever the body: with success, or
// with an error body that is not our own failure.
func wantAnswer(t *testing.T, status int, body []byte) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if status != 200 && (status < 400 || status >= 500 || o["errcode"] == nil) {
		t.Fatalf("got %d %s", status, body)
	}
}

func FuzzSendLeave(f *testing.F) {
	r := newRoom(f, fedinvite.RoomV11)
	r.invite(bob)
	s := newResident(f, r, func(c *fedserver.LeavesConfig) { c.Credentials = believes(serverB, serverA) })
	raw := r.signed(r.leaveOf(bob), serverB)
	id := s.idOf(raw)
	f.Add([]byte(raw))
	f.Add([]byte(r.signed(r.leaveOf(bob), serverC)))
	f.Add([]byte(`{"sender":"@bob:b.ex","unsigned":{},"unsigned":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s.handled, s.done = nil, nil
		w := answer(s, letter{"PUT", target("v2", "send_leave", r.id, id), "", serverA, body}.request(t))
		wantAnswer(t, w.Code, w.Body.Bytes())
		for _, e := range s.handled {
			if e.ID() != id || e.Unsigned() != nil || e.Membership() != "leave" || e.Verify(t.Context(), allKeys(), serverB) != nil {
				t.Fatalf("handled %s", e.AppendJSON(nil))
			}
		}
	})
}

func FuzzTransaction(f *testing.F) {
	r := newRoom(f, fedinvite.RoomV11)
	invite := r.invite(bob)
	raw := r.signed(r.rescission(alice), serverA)
	f.Add(encode(object{"origin": serverA, "pdus": []any{raw, object{"event_id": "$x", "type": 1}}, "edus": []any{}}))
	f.Add(encode(object{"pdus": []any{r.signed(r.rescission(albert), serverA)}}))
	f.Add([]byte(`{"pdus":[{"type":"m.room.member","content":{"membership":"leave"},"sender":"@alice:a.ex"}]}`))
	believe := func(c *fedserver.TransactionsConfig) { c.Credentials = believes(serverA, serverB) }
	s := newInvited(f, nil, believe)
	h := &hooks{t: f}
	rooms := newInvited(f, nil, believe, h.mount)
	user, _ := invite.StateKey()
	f.Fuzz(func(t *testing.T, body []byte) {
		s.invites[invite.RoomID()+user], s.removed, s.done = invite, nil, nil
		w := answer(s, letter{"PUT", target("v1", "send", "1"), "", serverB, body}.request(t))
		wantAnswer(t, w.Code, w.Body.Bytes())
		for _, e := range s.removed {
			if e.Sender() != alice || e.Unsigned() != nil || e.Verify(t.Context(), allKeys(), serverA) != nil {
				t.Fatalf("taken back by %s", e.AppendJSON(nil))
			}
		}
		_, _ = s.TakeBack(t.Context(), body)

		rooms.invites[invite.RoomID()+user], rooms.removed, rooms.done, h.calls = invite, nil, nil, nil
		again := answer(rooms, letter{"PUT", target("v1", "send", "1"), "", serverB, body}.request(t))
		wantAnswer(t, again.Code, again.Body.Bytes())
		if again.Code != w.Code || len(rooms.removed) != len(s.removed) || len(h.calls) > 150 {
			t.Fatalf("with Next %d, without %d; removed %d and %d; %d calls", again.Code, w.Code, len(rooms.removed), len(s.removed), len(h.calls))
		}
		for _, c := range h.calls {
			if text := canonical(t, []byte(c.json)); text != c.json || text[0] != '{' {
				t.Fatalf("got %s", c.json)
			}
		}
	})
}

func FuzzExchange(f *testing.F) {
	p := newPair(f, fedinvite.RoomV11, func(c *fedserver.ExchangesConfig) { c.Credentials = believes(serverB, serverA) })
	p.room.addToken()
	l := p.letter(exchangeOf(p.room))
	l.from = ""
	f.Add(l.body)
	f.Add([]byte(`{"type":"m.room.member","content":{"membership":"invite"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p.stored, p.received, p.done, p.asked, p.network.requests = nil, nil, nil, nil, nil
		l.body = body
		w := answer(p, l.request(t))
		wantAnswer(t, w.Code, w.Body.Bytes())
		for _, inv := range p.stored {
			if user, _ := inv.Event.StateKey(); user != bob || inv.Event.Sender() != alice {
				t.Fatalf("stored %s", inv.Event.AppendJSON(nil))
			}
		}
	})
}

func FuzzOnbind(f *testing.F) {
	b, got := newBinds(f)
	f.Add(encode(bindOf(bob, 2)))
	f.Add(encode(bindOf(carol, 1)))
	f.Add([]byte(`{"mxid":"@bob:b.ex","medium":"email","address":"x","invites":[{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		*got = nil
		w := answer(b, letter{"POST", target("v1", "3pid", "onbind"), "", "", body}.request(t))
		wantAnswer(t, w.Code, w.Body.Bytes())
		for _, inv := range *got {
			if _, server, err := fedinvite.ParseUserID(inv.UserID); err != nil || server != serverB {
				t.Fatalf("handled %+v", inv)
			}
		}
	})
}

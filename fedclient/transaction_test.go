package fedclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A listener takes requests of a.ex, checks who they come from and keeps the last.
type listener struct {
	name      fedinvite.ServerName
	client    *fedclient.Client
	transport *discovery.Transport // which trusts it
	answer    http.HandlerFunc
	method    string
	target    string
	body      []byte
}

func newListener(t *testing.T, us fedinvite.Signer, answer http.HandlerFunc) *listener {
	t.Helper()
	keys := fedinvite.KeyMap{}
	keys.Add(us)
	l := &listener{answer: answer}
	name, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if l.body, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		l.method, l.target = r.Method, r.RequestURI
		c, err := xmatrix.Verifier{Keys: keys, Now: clock}.Credentials(r)
		if err == nil {
			err = c.Verify(r.Context(), l.body)
		}
		if err != nil || c.Destination != l.name || c.Origin != us.ServerName() {
			t.Errorf("%s: %+v, %v", r.RequestURI, c, err)
		}
		l.answer(w, r)
	}))
	l.name, l.client, l.transport = name, newClient(t, transport), transport
	return l
}

// anEvent is the n-th of many.
func anEvent(t testing.TB, version fedinvite.RoomVersion, n int, content string) *fedinvite.Event {
	t.Helper()
	rules, room := rulesOf(t, version), "!r:a.ex"
	if rules.RoomIDIsCreateEvent {
		room = "!" + strings.Repeat("r", 43)
	}
	e, err := fedinvite.NewLeave(t.Context(), fedinvite.Draft{
		RoomID: room, Sender: "@a:a.ex", Invitee: fmt.Sprintf("@b%d:b.ex", n), Depth: 7, Time: now, Content: json.RawMessage(content),
	}, rules, invitetest.Signer("a.ex"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTransactionsOfEveryRoomVersion(t *testing.T) {
	us := invitetest.Signer("a.ex")
	l := newListener(t, us, nil)
	for _, version := range fedinvite.RoomVersions() {
		var events []*fedinvite.Event
		for i := range 3 {
			events = append(events, anEvent(t, version, i, ""))
		}
		l.answer = answerJSON(200, fmt.Sprintf(
			`{"pdus":{%q:{"error":"not \u00fe this"},%q:{},"$other":{"error":"?"}},"more":1.5}`, events[0].ID(), events[1].ID()))
		failed, err := l.client.SendTransaction(t.Context(), fedclient.Transaction{
			ID: "a/b ?#ü", Destination: l.name, Events: events, Time: now, Signer: us,
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{events[0].ID(): "not þ this"}, failed); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if l.method != "PUT" || l.target != "/_matrix/federation/v1/send/a%2Fb%20%3F%23%C3%BC" {
			t.Errorf("%s %s", l.method, l.target)
		}
		var want []string
		for _, e := range events {
			want = append(want, string(e.AppendJSON(nil)))
		}
		body := fmt.Sprintf(`{"origin":"a.ex","origin_server_ts":%d,"pdus":[%s]}`, now.UnixMilli(), strings.Join(want, ","))
		if string(l.body) != body {
			t.Errorf("got  %s\nwant %s", l.body, body)
		}
	}
}

// Numbers that canonical JSON does not have are in events of old rooms.
func TestTransactionsLeaveEventsAsTheyAre(t *testing.T) {
	us := invitetest.Signer("a.ex")
	l := newListener(t, us, answerJSON(200, `{"pdus":{}}`))
	raw := `{"auth_events":[],"content":{"n":1.50,"big":123456789012345678901234567890},"depth":1,"hashes":{},"origin_server_ts":1,` +
		`"prev_events":[],"room_id":"!r:a.ex","sender":"@a:a.ex","type":"x","unsigned":{"age":5}}`
	signed, err := fedinvite.SignEventJSON(t.Context(), []byte(raw), rulesOf(t, fedinvite.RoomV3), us)
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(signed, rulesOf(t, fedinvite.RoomV3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.SendTransaction(t.Context(), fedclient.Transaction{
		ID: "1", Destination: l.name, Events: []*fedinvite.Event{e}, Time: now, Signer: us,
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(l.body, e.AppendJSON(nil)) || !bytes.Contains(l.body, []byte("123456789012345678901234567890")) {
		t.Errorf("got %s", l.body)
	}
}

func TestTransactionOf50LargeEvents(t *testing.T) {
	us := invitetest.Signer("a.ex")
	l := newListener(t, us, answerJSON(200, `{"pdus":{}}`))
	large := `{"reason":"` + strings.Repeat("x", 64000) + `"}`
	var events []*fedinvite.Event
	for i := range 51 {
		events = append(events, anEvent(t, fedinvite.RoomV12, i, large))
	}
	tx := fedclient.Transaction{ID: strings.Repeat("x", 255), Destination: l.name, Events: events[:50], Time: now, Signer: us}
	failed, err := l.client.SendTransaction(t.Context(), tx)
	if err != nil || len(failed) > 0 || len(l.body) < 50*64000 {
		t.Errorf("got %v, %v", failed, err)
	}
	l.body, tx.Events = nil, events
	if _, err = l.client.SendTransaction(t.Context(), tx); !errors.Is(err, fedinvite.ErrTooLarge) || l.body != nil {
		t.Errorf("51 events: %v", err)
	}
}

func TestTransactionsThatCannotBe(t *testing.T) {
	e := anEvent(t, fedinvite.RoomV11, 0, "")
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("no")
	}))
	for name, change := range map[string]func(tx *fedclient.Transaction){
		"no ID":          func(tx *fedclient.Transaction) { tx.ID = "" },
		"long ID":        func(tx *fedclient.Transaction) { tx.ID = strings.Repeat("x", 256) },
		"dot":            func(tx *fedclient.Transaction) { tx.ID = "." },
		"dots":           func(tx *fedclient.Transaction) { tx.ID = ".." },
		"bad UTF-8":      func(tx *fedclient.Transaction) { tx.ID = "\xff" },
		"no destination": func(tx *fedclient.Transaction) { tx.Destination = "" },
		"no server":      func(tx *fedclient.Transaction) { tx.Destination = "b.ex/x" },
		"no events":      func(tx *fedclient.Transaction) { tx.Events = nil },
		"nil event":      func(tx *fedclient.Transaction) { tx.Events = append(tx.Events, nil) },
		"no time":        func(tx *fedclient.Transaction) { tx.Time = time.Time{} },
		"no signer":      func(tx *fedclient.Transaction) { tx.Signer = nil },
		"bad signer":     func(tx *fedclient.Transaction) { tx.Signer = renamed{tx.Signer, "a\".ex\n"} },
	} {
		tx := fedclient.Transaction{
			ID: "1", Destination: "b.ex", Events: []*fedinvite.Event{e}, Time: now, Signer: invitetest.Signer("a.ex"),
		}
		change(&tx)
		if failed, err := client.SendTransaction(t.Context(), tx); err == nil || failed != nil {
			t.Errorf("%s: got %v, %v", name, failed, err)
		}
	}
}

// Events are two deeper in a transaction than by themselves.
func TestEventsThatAreTooDeepForATransaction(t *testing.T) {
	for levels, want := range map[int]error{125: nil, 126: fedinvite.ErrTooDeep, 127: fedinvite.ErrTooDeep} {
		asked := 0
		client := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
			asked++
			return response(200, map[string]string{"Content-Type": "application/json"}, `{"pdus":{}}`), nil
		}))
		signed := 0
		tx := fedclient.Transaction{
			ID: "1", Destination: "b.ex", Time: now,
			Events: []*fedinvite.Event{anEvent(t, fedinvite.RoomV11, 0, ""), anEvent(t, fedinvite.RoomV11, 1, string(nested(levels)))},
			Signer: signerFunc{invitetest.Signer("a.ex"), func(string) error { signed++; return nil }},
		}
		_, err := client.SendTransaction(t.Context(), tx)
		if !errors.Is(err, want) || (err == nil) != (want == nil) || (asked == 1) != (want == nil) || (signed == 1) != (want == nil) {
			t.Errorf("%d levels: signed %d, asked %d, %v", levels, signed, asked, err)
		}
		if want != nil && !strings.Contains(err.Error(), tx.Events[1].ID()) {
			t.Errorf("it does not say which event: %v", err)
		}
	}
}

// A renamed signer says that it is of another server.
type renamed struct {
	fedinvite.Signer
	name fedinvite.ServerName
}

func (r renamed) ServerName() fedinvite.ServerName { return r.name }

func TestAnswersToTransactions(t *testing.T) {
	us := invitetest.Signer("a.ex")
	e := anEvent(t, fedinvite.RoomV11, 0, "")
	l := newListener(t, us, nil)
	pdu := func(result string) http.HandlerFunc {
		return answerJSON(200, fmt.Sprintf(`{"pdus":{%q:%s}}`, e.ID(), result))
	}
	send := func(answer http.HandlerFunc) (map[string]string, error) {
		l.answer = answer
		return l.client.SendTransaction(t.Context(), fedclient.Transaction{
			ID: "1", Destination: l.name, Events: []*fedinvite.Event{e}, Time: now, Signer: us,
		})
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		failed bool
		want   string
	}{
		"nothing said":     {answerJSON(200, `{"pdus":{}}`), false, ""},
		"taken":            {pdu(`{}`), false, ""},
		"null":             {pdu(`{"error":null}`), false, ""},
		"other case":       {pdu(`{"Error":"no"}`), false, ""},
		"refused":          {pdu(`{"error":"no"}`), true, "no"},
		"without a text":   {pdu(`{"error":""}`), true, ""},
		"no text":          {pdu(`{"error":{"a":[1]}}`), true, ""},
		"a long text":      {pdu(`{"error":"` + strings.Repeat("é", 300) + `"}`), true, strings.Repeat("é", 256)},
		"a text cut short": {pdu(`{"error":"x` + strings.Repeat("é", 300) + `"}`), true, "x" + strings.Repeat("é", 255)},
		"others' failures": {answerJSON(200, `{"pdus":{"$x":{"error":"no"},"$y":5}}`), false, ""},
	} {
		failed, err := send(c.answer)
		got, has := failed[e.ID()]
		if err != nil || has != c.failed || got != c.want || len(failed) > 1 || !has && len(failed) > 0 {
			t.Errorf("%s: got %v, %v", name, failed, err)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON":        answerJSON(200, "ok"),
		"nothing":        answerJSON(200, ""),
		"an array":       answerJSON(200, "[]"),
		"null":           answerJSON(200, "null"),
		"no pdus":        answerJSON(200, "{}"),
		"other case":     answerJSON(200, `{"PDUs":{}}`),
		"pdus null":      answerJSON(200, `{"pdus":null}`),
		"pdus an array":  answerJSON(200, `{"pdus":[]}`),
		"result null":    pdu("null"),
		"result a text":  pdu(`"no"`),
		"duplicate keys": answerJSON(200, `{"pdus":{},"pdus":{}}`),
		"too deep":       pdu(strings.Repeat("[", 200) + strings.Repeat("]", 200)),
		"a page":         answerWith(200, "text/html", `{"pdus":{}}`),
		"huge":           answerJSON(200, `{"pdus":{}}`+strings.Repeat(" ", 1<<20)),
	} {
		if failed, err := send(answer); !errors.Is(err, fedclient.ErrReply) || failed != nil {
			t.Errorf("%s: got %v, %v", name, failed, err)
		}
	}
	var remote *fedclient.RemoteError
	if _, err := send(answerJSON(429, `{"errcode":"M_LIMIT_EXCEEDED"}`)); !errors.As(err, &remote) || !fedclient.Retryable(err) {
		t.Errorf("429: %v", err)
	}
	if _, err := send(hangsUp); !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("no answer: %v", err)
	}
}

func TestTransactionEndsWithTheContext(t *testing.T) {
	us := invitetest.Signer("a.ex")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := newListener(t, us, hangsUntil(cancel))
	_, err := l.client.SendTransaction(ctx, fedclient.Transaction{
		ID: "1", Destination: l.name, Events: []*fedinvite.Event{anEvent(t, fedinvite.RoomV11, 0, "")}, Time: now, Signer: us,
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// Whatever the server answers, it is about the events that were sent, and short.
func FuzzAnswersToTransactions(f *testing.F) {
	e := anEvent(f, fedinvite.RoomV11, 0, "")
	f.Add([]byte(`{"pdus":{}}`))
	f.Add(fmt.Appendf(nil, `{"pdus":{%q:{"error":"no"},"$x":{"error":5}}}`, e.ID()))
	f.Fuzz(func(t *testing.T, answer []byte) {
		client := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
			return response(200, map[string]string{"Content-Type": "application/json"}, string(answer)), nil
		}))
		failed, err := client.SendTransaction(t.Context(), fedclient.Transaction{
			ID: "1", Destination: "b.ex", Events: []*fedinvite.Event{e}, Time: now, Signer: invitetest.Signer("a.ex"),
		})
		if err != nil && (!errors.Is(err, fedclient.ErrReply) || failed != nil) {
			t.Errorf("got %v, %v", failed, err)
		}
		for id, message := range failed {
			if id != e.ID() || len(message) > 512 {
				t.Errorf("got %v", failed)
			}
		}
	})
}

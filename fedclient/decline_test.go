package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestDeclineInEveryRoomVersion(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			p, n := newResident(t, version), newNotary(t)
			d, err := declineBy(t, n, p)
			took(t, p, d, err)
			p.was("make_leave v1", "send_leave v2")
			if got := n.events(); len(got) != 1 {
				t.Errorf("signed %v", got)
			}
		})
	}
}

// The specification: "In case any of the above checks fail, the response MUST be treated
// as malformed and discarded. The caller MAY try to leave through another server."
func TestScenario61TemplatesThatAreNoLeave(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(template map[string]any) { template["event"].(map[string]any)[key] = value }
	}
	without := func(key string) func(map[string]any) {
		return func(template map[string]any) { delete(template["event"].(map[string]any), key) }
	}
	refs := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("$%d", i))
		}
		return all
	}
	for name, change := range map[string]func(template map[string]any){
		"membership join":    set("content", map[string]any{"membership": "join"}),
		"membership invite":  set("content", map[string]any{"membership": "invite"}),
		"no membership":      set("content", map[string]any{}),
		"no content":         without("content"),
		"other room":         set("room_id", "!other:a.ex"),
		"no room":            without("room_id"),
		"other sender":       set("sender", "@c:b.ex"),
		"other state key":    set("state_key", "@c:b.ex"),
		"no state key":       without("state_key"),
		"other type":         set("type", "m.room.power_levels"),
		"type of other case": set("type", "M.room.member"),
		"depth no number":    set("depth", "41"),
		"depth too great":    set("depth", 1e300),
		"auth_events absent": without("auth_events"),
		"11 auth_events":     set("auth_events", refs(11)),
		"21 prev_events":     set("prev_events", refs(21)),
		"prev_events pairs":  set("prev_events", []any{[]any{"$x", map[string]any{}}}),
		"other user":         func(o map[string]any) { set("sender", "@c:b.ex")(o); set("state_key", "@c:b.ex")(o) },
		"other version":      func(o map[string]any) { o["room_version"] = "10" },
		"unknown version":    func(o map[string]any) { o["room_version"] = strings.Repeat("x", 9999) },
		"no version in v11":  func(o map[string]any) { delete(o, "room_version") },
		"version no string":  func(o map[string]any) { o["room_version"] = 11 },
		"no event":           func(o map[string]any) { delete(o, "event") },
		"event no object":    func(o map[string]any) { o["event"] = []any{} },
	} {
		t.Run(name, func(t *testing.T) {
			p, n := newResident(t, fedinvite.RoomV11), newNotary(t)
			p.change = change
			d, err := declineBy(t, n, p)
			wasLocal(t, p.invite(), d, err)
			p.was("make_leave v1")
			if got := n.events(); len(got) != 1 {
				t.Errorf("signed %v", got)
			}
			if !errors.Is(d.Err, fedclient.ErrReply) || len(d.Err.Error()) > 1000 {
				t.Errorf("got %v", d.Err)
			}

			next := newResident(t, fedinvite.RoomV11)
			d, err = declineBy(t, n, p, next)
			took(t, next, d, err)
		})
	}
}

func TestScenario61AnswersThatAreNoTemplate(t *testing.T) {
	for name, answer := range map[string]func(good string) http.HandlerFunc{
		"no JSON":        func(string) http.HandlerFunc { return answerJSON(200, "leave, then") },
		"nothing":        func(string) http.HandlerFunc { return answerJSON(200, "") },
		"an array":       func(good string) http.HandlerFunc { return answerJSON(200, "["+good+"]") },
		"null":           func(string) http.HandlerFunc { return answerJSON(200, "null") },
		"trailing data":  func(good string) http.HandlerFunc { return answerJSON(200, good+"{}") },
		"duplicate keys": func(good string) http.HandlerFunc { return answerJSON(200, `{"event":{},`+good[1:]) },
		"too deep": func(good string) http.HandlerFunc {
			return answerJSON(200, `{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+","+good[1:])
		},
		"bad UTF-8": func(good string) http.HandlerFunc { return answerJSON(200, "{\"\xff\":1,"+good[1:]) },
		"huge":      func(good string) http.HandlerFunc { return answerJSON(200, good+strings.Repeat(" ", 256<<10)) },
		"a page":    func(good string) http.HandlerFunc { return answerWith(200, "text/html", good) },
		"201":       func(good string) http.HandlerFunc { return answerJSON(201, good) },
	} {
		t.Run(name, func(t *testing.T) {
			p, n := newResident(t, fedinvite.RoomV11), newNotary(t)
			good, err := json.Marshal(p.template(p.invite().RoomID(), decliner))
			if err != nil {
				t.Fatal(err)
			}
			p.makeLeave = answer(string(good))
			d, err := declineBy(t, n, p)
			wasLocal(t, p.invite(), d, err)
			p.was("make_leave v1")
			if got := n.events(); len(got) != 1 {
				t.Errorf("signed %v", got)
			}
		})
	}
}

func TestScenario62TemplateWithoutRoomVersion(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		p := newResident(t, version)
		p.change = func(template map[string]any) { delete(template, "room_version") }
		d, err := declineBy(t, newNotary(t), p)
		took(t, p, d, err)
		if got := d.Event.Rules().Version; got != version {
			t.Errorf("got a leave of room version %s", got)
		}
	}
}

func TestScenario63RefusedOrUnreachable(t *testing.T) {
	const forbidden = `{"errcode":"M_FORBIDDEN","error":"User is not in the room."}`
	for name, answer := range map[string]http.HandlerFunc{
		"403":      answerJSON(403, forbidden),
		"404":      answerJSON(404, `{"errcode":"M_NOT_FOUND","error":"?"}`),
		"429":      answerJSON(429, `{"errcode":"M_LIMIT_EXCEEDED","error":"?"}`),
		"500":      answerJSON(500, `{"errcode":"M_UNKNOWN","error":"?"}`),
		"502":      answerWith(502, "text/html", "bad gateway"),
		"hangs up": hangsUp,
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11, fedinvite.RoomV12} {
				p := newResident(t, version)
				p.makeLeave = answer
				d, err := declineBy(t, newNotary(t), p)
				wasLocal(t, p.invite(), d, err)
				p.was("make_leave v1")
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		p := newResident(t, fedinvite.RoomV11)
		invite := p.invite()
		d, err := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection refused")
		})).Decline(t.Context(), fedclient.DeclineRequest{
			Invite: invite, Signer: newNotary(t), Time: now.Add(time.Hour), Content: json.RawMessage(`{"reason":"no, thanks"}`),
		})
		wasLocal(t, invite, d, err)
		if !errors.Is(d.Err, fedclient.ErrUnreachable) || !fedclient.Retryable(d.Err) {
			t.Errorf("got %v", d.Err)
		}
	})
	t.Run("403 to the leave itself", func(t *testing.T) {
		p := newResident(t, fedinvite.RoomV11)
		p.sendLeave = answerJSON(403, forbidden)
		d, err := declineBy(t, newNotary(t), p)
		wasLocal(t, p.invite(), d, err)
		p.was("make_leave v1", "send_leave v2")
		var remote *fedclient.RemoteError
		if !errors.As(d.Err, &remote) || remote.Server != p.name || remote.Code != fedinvite.CodeForbidden {
			t.Errorf("got %v", d.Err)
		}
	})
	t.Run("the next server", func(t *testing.T) {
		p, q := newResident(t, fedinvite.RoomV12), newResident(t, fedinvite.RoomV12)
		p.makeLeave = answerJSON(403, forbidden)
		d, err := declineBy(t, newNotary(t), p, q)
		took(t, q, d, err)
	})
}

// v1 send_leave was removed in version 1.18 of the specification; servers of old have no other.
func TestDeclineOnAnOldServer(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		for name, unknown := range map[string]http.HandlerFunc{
			"404 with a page": answerWith(404, "text/html", "no"),
			"404":             answerJSON(404, unrecognized),
			"405":             answerJSON(405, unrecognized),
			"400":             answerJSON(400, unrecognized),
		} {
			t.Run(string(version)+" "+name, func(t *testing.T) {
				p := newResident(t, version)
				p.sendLeave, p.sendLeaveV1 = unknown, answerJSON(200, "[200, {}]")
				d, err := declineBy(t, newNotary(t), p)
				took(t, p, d, err)
				p.was("make_leave v1", "send_leave v2", "send_leave v1")
				if p.sent[0].ID() != p.sent[1].ID() {
					t.Error("two events were sent")
				}
			})
		}
	}
	for _, status := range []int{403, 404} {
		p := newResident(t, fedinvite.RoomV6)
		p.sendLeave, p.sendLeaveV1 = answerJSON(404, unrecognized), answerJSON(status, unrecognized)
		d, err := declineBy(t, newNotary(t), p)
		wasLocal(t, p.invite(), d, err)
	}
}

// A 404 about the room is no reason to ask again.
func TestDeclineFallsBackForUnknownEndpointsOnly(t *testing.T) {
	for _, status := range []int{400, 403, 404} {
		p := newResident(t, fedinvite.RoomV1)
		p.sendLeave = answerJSON(status, `{"errcode":"M_NOT_FOUND","error":"no such room"}`)
		d, err := declineBy(t, newNotary(t), p)
		wasLocal(t, p.invite(), d, err)
		p.was("make_leave v1", "send_leave v2")
	}
}

// The leave may be in the room, so that it is the one to store.
func TestDeclineWithoutAnAnswerToTheLeave(t *testing.T) {
	type answers struct{ v2, v1 http.HandlerFunc }
	old := answerJSON(404, unrecognized)
	for name, a := range map[string]answers{
		"hangs up":       {v2: hangsUp},
		"500":            {v2: answerJSON(500, `{"errcode":"M_UNKNOWN","error":"?"}`)},
		"504 of a proxy": {v2: answerWith(504, "text/html", "time-out")},
		"202":            {v2: answerJSON(202, "{}")},
		"redirect": {v2: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
		"a page":           {v2: answerWith(200, "text/html", "{}")},
		"no JSON":          {v2: answerJSON(200, "")},
		"no object":        {v2: answerJSON(200, "[200,{}]")},
		"huge":             {v2: answerJSON(200, "{}"+strings.Repeat(" ", 64<<10))},
		"v1: hangs up":     {old, hangsUp},
		"v1: an object":    {old, answerJSON(200, "{}")},
		"v1: one element":  {old, answerJSON(200, "[200]")},
		"v1: other status": {old, answerJSON(200, "[403,{}]")},
		"v1: no object":    {old, answerJSON(200, "[200,200]")},
		"v1: no JSON":      {old, answerJSON(200, "[200,{]")},
	} {
		t.Run(name, func(t *testing.T) {
			p, n := newResident(t, fedinvite.RoomV11), newNotary(t)
			p.sendLeave, p.sendLeaveV1 = a.v2, a.v1
			d, err := declineBy(t, n, p)
			maybeSeen(t, p, d, err)
			if got := n.events(); len(got) != 1 {
				t.Errorf("signed %v", got)
			}

			q := newResident(t, fedinvite.RoomV11)
			d, err = declineBy(t, n, p, q)
			took(t, q, d, err)

			p.sent = nil
			q.makeLeave = answerJSON(403, `{"errcode":"M_FORBIDDEN","error":"has left"}`)
			d, err = declineBy(t, n, p, q)
			maybeSeen(t, p, d, err)

			p.sent = nil
			q.makeLeave, q.sendLeave, q.sendLeaveV1 = nil, a.v2, a.v1
			q.change = func(template map[string]any) { template["event"].(map[string]any)["prev_events"] = []string{"$other"} }
			d, err = declineBy(t, n, p, q)
			maybeSeen(t, p, d, err) // the first
		})
	}
}

// What a RoundTripper or a Signer says is no answer of the server, whatever it wraps: the
// leave that it may have is not sent again by another endpoint, and not forgotten.
func TestDeclineTakesNobodyElsesErrorForTheServers(t *testing.T) {
	unknown := &fedclient.RemoteError{Server: "x.ex", Status: 404, Code: "M_UNRECOGNIZED"}
	t.Run("the RoundTripper's", func(t *testing.T) {
		p := newResident(t, fedinvite.RoomV11)
		p.sendLeaveV1 = answerJSON(403, `{"errcode":"M_FORBIDDEN","error":"no"}`)
		d, err := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			res, err := p.transport.RoundTrip(r)
			if r.Method == http.MethodPut && err == nil {
				_ = res.Body.Close()
				return nil, fmt.Errorf("the answer was lost: %w", unknown)
			}
			return res, err
		})).Decline(t.Context(), fedclient.DeclineRequest{
			Invite: p.invite(), Signer: newNotary(t), Time: now.Add(time.Hour), Content: json.RawMessage(`{"reason":"no, thanks"}`),
		})
		maybeSeen(t, p, d, err)
		p.was("make_leave v1", "send_leave v2")
	})
	t.Run("the Signer's", func(t *testing.T) {
		p := newResident(t, fedinvite.RoomV11)
		var asked []string
		_, err := newClient(t, p.transport).Decline(t.Context(), fedclient.DeclineRequest{
			Invite: p.invite(), Time: now, Signer: signerFunc{newNotary(t), func(message string) error {
				if !strings.Contains(message, "send_leave") {
					return nil
				}
				asked = append(asked, message)
				return unknown
			}},
		})
		if !errors.Is(err, unknown) || len(asked) != 1 || fedclient.Retryable(err) {
			t.Errorf("asked %d times, got %v", len(asked), err)
		}
		p.was("make_leave v1")
	})
	t.Run("the Signer's, busy", func(t *testing.T) {
		busy := &fedclient.RemoteError{Server: "x.ex", Status: 503}
		for _, fails := range []func(string) bool{isEvent, func(m string) bool { return !isEvent(m) }} {
			p := newResident(t, fedinvite.RoomV11)
			p.makeLeave = hangsUp // so that isEvent is about leave.Local
			_, err := newClient(t, p.transport).Decline(t.Context(), fedclient.DeclineRequest{
				Invite: p.invite(), Time: now, Signer: signerFunc{newNotary(t), func(message string) error {
					if fails(message) {
						return busy
					}
					return nil
				}},
			})
			if !errors.Is(err, busy) || fedclient.Retryable(err) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// A signerFunc signs unless the function says otherwise.
type signerFunc struct {
	fedinvite.Signer
	ask func(message string) error
}

func (s signerFunc) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := s.ask(string(message)); err != nil {
		return nil, err
	}
	return s.Signer.Sign(ctx, message)
}

// Without a connection the leave was never on its way.
func TestDeclineWithoutAConnectionForTheLeave(t *testing.T) {
	p := newResident(t, fedinvite.RoomV11)
	unreachable := unconnected(t, errors.New("connection refused"))
	d, err := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut {
			return unreachable.RoundTrip(r)
		}
		return p.transport.RoundTrip(r)
	})).Decline(t.Context(), fedclient.DeclineRequest{
		Invite: p.invite(), Signer: newNotary(t), Time: now.Add(time.Hour), Content: json.RawMessage(`{"reason":"no, thanks"}`),
	})
	wasLocal(t, p.invite(), d, err)
	p.was("make_leave v1")
	if !errors.Is(d.Err, fedclient.ErrUnreachable) {
		t.Errorf("got %v", d.Err)
	}
}

// maybeSeen demands that the leave is the first that was sent to p.
func maybeSeen(t *testing.T, p *resident, d fedclient.Declined, err error) {
	t.Helper()
	if err != nil || !d.MaybeSeen || d.Server != "" || d.Err == nil {
		t.Fatalf("got %+v, %v", d, err)
	}
	if d.Event.ID() != p.sent[0].ID() {
		t.Errorf("got %s, but sent %s", d.Event.ID(), p.sent[0].ID())
	}
	isLeave(t, d.Event)
}

func TestDeclineAsksTheInvitersServer(t *testing.T) {
	p := newResident(t, fedinvite.RoomV11)
	invite, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: "!r:room.ex", Sender: "@a:" + string(p.name), Invitee: decliner, Depth: 7, Time: now,
	}, p.rules, invitetest.Signer(p.name))
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Host)
		return nil, errors.New("nobody there")
	}))
	for _, c := range []struct{ servers, want []fedinvite.ServerName }{
		{nil, []fedinvite.ServerName{p.name}},
		{[]fedinvite.ServerName{}, []fedinvite.ServerName{p.name}},
		{[]fedinvite.ServerName{"y.ex", "x.ex", "y.ex", "b.ex", "z.ex:1"}, []fedinvite.ServerName{"y.ex", "x.ex", "z.ex:1"}},
	} {
		hosts = nil
		d, err := client.Decline(t.Context(), fedclient.DeclineRequest{Invite: invite, Signer: newNotary(t), Time: now, Servers: c.servers})
		if err != nil || d.Event == nil {
			t.Fatal(err)
		}
		var want []string
		for _, server := range c.want {
			want = append(want, string(server))
			if !strings.Contains(d.Err.Error(), string(server)) {
				t.Errorf("%s is not in %v", server, d.Err)
			}
		}
		if diff := cmp.Diff(want, hosts); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestDeclineRequestsThatCannotBe(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	invite := inviteFor(decliner, invitetest.Signer("a.ex"), rules)
	draft := fedinvite.Draft{RoomID: "!r:a.ex", Sender: "@a:a.ex", Invitee: decliner, Depth: 7, Time: now}
	kick, err := fedinvite.NewLeave(t.Context(), draft, rules, invitetest.Signer("a.ex"))
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := fedinvite.ParseStored(invitetest.Change(invite.AppendJSON(nil), invitetest.Set("b.ex", "state_key")), rules)
	if err != nil {
		t.Fatal(err)
	}
	local := inviteFor(decliner, invitetest.Signer("b.ex"), rules)
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("no")
	}))
	for name, c := range map[string]struct {
		change func(r *fedclient.DeclineRequest)
		want   error // nil: any
	}{
		"no invite":         {func(r *fedclient.DeclineRequest) { r.Invite = nil }, nil},
		"no signer":         {func(r *fedclient.DeclineRequest) { r.Signer = nil }, nil},
		"no time":           {func(r *fedclient.DeclineRequest) { r.Time = time.Time{} }, fedinvite.ErrBadJSON},
		"before 1970":       {func(r *fedclient.DeclineRequest) { r.Time = time.UnixMilli(-1) }, fedinvite.ErrBadJSON},
		"a leave":           {func(r *fedclient.DeclineRequest) { r.Invite = kick }, fedinvite.ErrNotInvite},
		"state key no user": {func(r *fedclient.DeclineRequest) { r.Invite = nobody }, fedinvite.ErrNotInvite},
		"other signer":      {func(r *fedclient.DeclineRequest) { r.Signer = invitetest.Signer("a.ex") }, fedinvite.ErrNotLocal},
		"content array":     {func(r *fedclient.DeclineRequest) { r.Content = []byte(`[]`) }, fedinvite.ErrBadJSON},
		"content null":      {func(r *fedclient.DeclineRequest) { r.Content = []byte(`null`) }, fedinvite.ErrBadJSON},
		"content float":     {func(r *fedclient.DeclineRequest) { r.Content = []byte(`{"a":1.5}`) }, fedinvite.ErrBadNumber},
		"content duplicate": {func(r *fedclient.DeclineRequest) { r.Content = []byte(`{"a":1,"a":2}`) }, fedinvite.ErrDuplicateKey},
		"content no JSON":   {func(r *fedclient.DeclineRequest) { r.Content = []byte(` `) }, fedinvite.ErrNotJSON},
		"a bad server": {func(r *fedclient.DeclineRequest) {
			r.Servers = []fedinvite.ServerName{"x.ex", "x.ex/y"}
		}, fedinvite.ErrIdentifier},
		"11 servers": {func(r *fedclient.DeclineRequest) {
			r.Servers = make([]fedinvite.ServerName, 11)
			for i := range r.Servers {
				r.Servers[i] = fedinvite.ServerName(fmt.Sprintf("s%d.ex", i))
			}
		}, fedinvite.ErrTooLarge},
		"nobody but us":      {func(r *fedclient.DeclineRequest) { r.Servers = []fedinvite.ServerName{"b.ex"} }, nil},
		"the inviter's ours": {func(r *fedclient.DeclineRequest) { r.Invite = local }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNotary(t)
			r := fedclient.DeclineRequest{Invite: invite, Signer: n, Time: now}
			c.change(&r)
			d, err := client.Decline(t.Context(), r)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || d != (fedclient.Declined{}) {
				t.Errorf("got %+v, %v", d, err)
			}
			if len(n.signed) > 0 {
				t.Errorf("signed %v", n.signed)
			}
		})
	}
	t.Run("content too large", func(t *testing.T) {
		n := newNotary(t)
		refused := newClient(t, tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") }))
		d, err := refused.Decline(t.Context(), fedclient.DeclineRequest{
			Invite: invite, Signer: n, Time: now, Content: []byte(`{"reason":"` + strings.Repeat("x", 65500) + `"}`),
		})
		if !errors.Is(err, fedinvite.ErrBadJSON) || d != (fedclient.Declined{}) || len(n.events()) > 0 {
			t.Errorf("got %+v, %v", d, err)
		}
	})
}

func TestDeclineAtTenServers(t *testing.T) {
	asked := 0
	client := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
		asked++
		return nil, errors.New("no")
	}))
	r := fedclient.DeclineRequest{
		Invite: inviteFor(decliner, invitetest.Signer("a.ex"), rulesOf(t, fedinvite.RoomV11)), Signer: newNotary(t), Time: now,
	}
	for i := range 10 {
		r.Servers = append(r.Servers, fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)))
	}
	if _, err := client.Decline(t.Context(), r); err != nil || asked != 10 {
		t.Errorf("%d were asked, %v", asked, err)
	}
}

func TestDeclineWhenTheSignerFails(t *testing.T) {
	for name, fails := range map[string]func(string) bool{
		"requests":   func(m string) bool { return !isEvent(m) },
		"events":     isEvent,
		"send_leave": func(m string) bool { return strings.Contains(m, "send_leave") },
	} {
		t.Run(name, func(t *testing.T) {
			p, q, n := newResident(t, fedinvite.RoomV11), newResident(t, fedinvite.RoomV11), newNotary(t)
			n.fails = fails
			d, err := declineBy(t, n, p, q)
			if !errors.Is(err, errNotary) || d != (fedclient.Declined{}) || len(p.sent) > 0 {
				t.Errorf("got %+v, %v", d, err)
			}
			q.was()
		})
	}
	t.Run("local", func(t *testing.T) {
		p, n := newResident(t, fedinvite.RoomV11), newNotary(t)
		p.makeLeave = hangsUp
		n.fails = isEvent
		d, err := declineBy(t, n, p)
		if !errors.Is(err, errNotary) || d != (fedclient.Declined{}) {
			t.Errorf("got %+v, %v", d, err)
		}
	})
	t.Run("after a leave was sent", func(t *testing.T) {
		p, q, n := newResident(t, fedinvite.RoomV11), newResident(t, fedinvite.RoomV11), newNotary(t)
		p.sendLeave = hangsUp
		n.fails = func(m string) bool { return strings.Contains(m, `"destination":"`+string(q.name)) }
		d, err := declineBy(t, n, p, q)
		maybeSeen(t, p, d, err)
		if !errors.Is(d.Err, errNotary) {
			t.Errorf("got %v", d.Err)
		}
	})
}

func TestDeclineWhenTheContextEnds(t *testing.T) {
	for _, at := range []string{"before", "make_leave", "send_leave"} {
		t.Run(at, func(t *testing.T) {
			p, q, n := newResident(t, fedinvite.RoomV11), newResident(t, fedinvite.RoomV11), newNotary(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			hangs := hangsUntil(cancel)
			switch at {
			case "before":
				cancel()
			case "make_leave":
				p.makeLeave = hangs
			case "send_leave":
				p.sendLeave = hangs
			}
			d, err := newClient(t, p.transport).Decline(ctx, fedclient.DeclineRequest{
				Invite: p.invite(), Signer: n, Time: now.Add(time.Hour), Content: json.RawMessage(`{"reason":"no, thanks"}`),
				Servers: []fedinvite.ServerName{p.name, q.name},
			})
			q.was()
			if said := errors.Join(err, d.Err); strings.Contains(said.Error(), string(q.name)) {
				t.Errorf("went on to the next server: %v", said)
			}
			if at == "send_leave" {
				maybeSeen(t, p, d, err)
				return
			}
			if !errors.Is(err, context.Canceled) || d != (fedclient.Declined{}) || len(n.events()) > 0 {
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
}

// A resident that is a RoundTripper: it needs this much time for each request.
func slow(t *testing.T, p *resident, user string, takes map[string]time.Duration) tripper {
	return func(r *http.Request) (*http.Response, error) {
		path := segments(t, r.URL.EscapedPath())
		timer := time.NewTimer(takes[r.URL.Host+" "+path[3]])
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		body := []byte("{}")
		if path[3] == "make_leave" {
			var err error
			if body, err = json.Marshal(p.template(path[4], user)); err != nil {
				t.Error(err)
			}
		}
		return response(200, map[string]string{"Content-Type": "application/json"}, string(body)), nil
	}
}

func TestEachServerHasTheConfiguredTime(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	invite := inviteFor(decliner, invitetest.Signer("a.ex"), rules)
	for _, c := range []struct {
		name      string
		takes     map[string]time.Duration
		all       time.Duration // of ctx; 0: no end
		total     time.Duration
		server    fedinvite.ServerName
		maybeSeen bool
		fails     bool
	}{
		{"in time", map[string]time.Duration{"a.ex make_leave": 50 * time.Second, "a.ex send_leave": 9 * time.Second}, 0, 59 * time.Second, "a.ex", false, false},
		{"the next", map[string]time.Duration{"a.ex make_leave": time.Hour}, 0, time.Minute, "c.ex", false, false},
		{"the next after a leave", map[string]time.Duration{"a.ex make_leave": 50 * time.Second, "a.ex send_leave": 11 * time.Second}, 0, time.Minute, "c.ex", false, false},
		{"none", map[string]time.Duration{"a.ex make_leave": time.Hour, "c.ex make_leave": time.Hour}, 0, 2 * time.Minute, "", false, false},
		{"none after a leave", map[string]time.Duration{"a.ex send_leave": time.Hour, "c.ex make_leave": time.Hour}, 0, 2 * time.Minute, "", true, false},
		{"all of it", map[string]time.Duration{"a.ex make_leave": time.Hour, "c.ex make_leave": time.Hour}, 90 * time.Second, 90 * time.Second, "", false, true},
		{"all of it after a leave", map[string]time.Duration{"a.ex send_leave": time.Hour, "c.ex make_leave": time.Hour}, 90 * time.Second, 90 * time.Second, "", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := t.Context(), func() {}
				if c.all > 0 {
					ctx, cancel = context.WithTimeout(ctx, c.all)
				}
				defer cancel()
				client := newClient(t, slow(t, &resident{rules: rules}, decliner, c.takes))
				start := time.Now()
				d, err := client.Decline(ctx, fedclient.DeclineRequest{
					Invite: invite, Signer: newNotary(t), Time: now, Servers: []fedinvite.ServerName{"a.ex", "c.ex"},
				})
				if got := time.Since(start); got != c.total {
					t.Errorf("it took %s, not %s", got, c.total)
				}
				if c.fails {
					if !errors.Is(err, context.DeadlineExceeded) || d != (fedclient.Declined{}) {
						t.Errorf("got %+v, %v", d, err)
					}
					return
				}
				if err != nil || d.Event == nil || d.Server != c.server || d.MaybeSeen != c.maybeSeen || (d.Err == nil) != (d.Server != "") {
					t.Errorf("got %+v, %v", d, err)
				}
			})
		})
	}
}

// That the time for one server ran out while we signed is not the signer's failure.
func TestDeclineGoesOnWhenTheTimeForAServerEndsInTheSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := rulesOf(t, fedinvite.RoomV11)
		client := newClient(t, slow(t, &resident{rules: rules}, decliner, map[string]time.Duration{"a.ex make_leave": 50 * time.Second}))
		d, err := client.Decline(t.Context(), fedclient.DeclineRequest{
			Invite: inviteFor(decliner, invitetest.Signer("a.ex"), rules), Signer: slowSigner{newNotary(t)}, Time: now,
			Servers: []fedinvite.ServerName{"a.ex", "c.ex"},
		})
		if err != nil || d.Server != "c.ex" {
			t.Errorf("got %+v, %v", d, err)
		}
	})
}

// A slowSigner needs 15 s for an event.
type slowSigner struct{ *notary }

func (s slowSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if isEvent(string(message)) {
		select {
		case <-time.After(15 * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.notary.Sign(ctx, message)
}

// Whatever the servers answer, the result is a leave by our user in this room.
func FuzzDecline(f *testing.F) {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		f.Fatal(err)
	}
	invite := inviteFor(decliner, invitetest.Signer("a.ex"), rules)
	good, err := json.Marshal((&resident{rules: rules}).template(invite.RoomID(), decliner))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte("{}"), 200)
	f.Add(good, []byte("[200,{}]"), 404)
	f.Add([]byte(`{"room_version":"11","event":{}}`), []byte{}, 500)
	f.Fuzz(func(t *testing.T, template, reply []byte, status int) {
		if status < 200 || status > 999 {
			status = 200
		}
		sent := ""
		client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			path, status, body := segments(t, r.URL.EscapedPath()), status, reply
			switch {
			case path[3] == "make_leave":
				status, body = 200, template
			case path[2] == "v1":
				status = 200
			}
			if path[3] == "send_leave" {
				sent = path[5]
			}
			return response(status, map[string]string{"Content-Type": "application/json"}, string(body)), nil
		}))
		d, err := client.Decline(t.Context(), fedclient.DeclineRequest{Invite: invite, Signer: newNotary(t), Time: now})
		if err != nil {
			t.Fatal(err)
		}
		if e := d.Event; e.Membership() != "leave" || e.Sender() != decliner || e.RoomID() != invite.RoomID() {
			t.Errorf("got %s", e.AppendJSON(nil))
		}
		if shown := d.Server != "" || d.MaybeSeen; shown && d.Event.ID() != sent || (d.Server == "") != (d.Err != nil) || d.Server != "" && d.MaybeSeen {
			t.Errorf("sent %s, got %+v", sent, d)
		}
	})
}

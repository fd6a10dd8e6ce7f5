package invitetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// asTarget makes a target of a server: its users invite as they are asked to.
func asTarget(peer, server *invitetest.Server) invitetest.Target {
	user := func(localpart string) string { return "@" + localpart + ":" + string(server.Name()) }
	return invitetest.Target{
		Name: server.Name(), Peer: peer, Invitee: user("bob"), Blocking: user("private"),
		Invite: func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error {
			room := server.NewRoom(version, user("carol"))
			room.Name("Tea")
			_, err := server.Invite(ctx, room, invitee)
			return err
		},
	}
}

// harmless are all checks but the attacks, which have tests of their own.
func harmless() []invitetest.Check {
	return slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool { return c.Attack })
}

// checkNamed returns the check of that name.
func checkNamed(t *testing.T, name string) invitetest.Check {
	t.Helper()
	checks := invitetest.Checks()
	i := slices.IndexFunc(checks, func(c invitetest.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return checks[i]
}

// wanted is a policy: nobody invites @private, and nobody has the name @nobody-….
func wanted(_ context.Context, inv *fedinvite.Invite) error {
	switch {
	case strings.HasPrefix(inv.Invitee, "@private:"):
		return fedinvite.Refuse(fedinvite.CodeInviteBlocked, "Invites are blocked.")
	case strings.HasPrefix(inv.Invitee, "@nobody-"):
		return fedinvite.Refuse(fedinvite.CodeForbidden, "There is no such user.")
	}
	return nil
}

// What is found of a Server, which is made of this library. Whether unsigned is returned,
// and how strictly room state is checked, is a decision of the library or its user.
func TestConformanceOfServers(t *testing.T) {
	t.Parallel()
	n := invitetest.NewNetwork(t)
	const unsigned = "receive/unsigned-kept"
	for name, c := range map[fedinvite.ServerName]struct {
		policy fedinvite.RoomStatePolicy
		except []string
	}{
		"strict.example": {fedinvite.StateStrict, []string{unsigned, "state/absent", "state/stripped"}},
		"":               {fedinvite.StateCreateOnly, []string{unsigned, "state/v12-other-room", "state/v12-signature", "state/v12-stripped"}},
		"off.example":    {fedinvite.StateOff, []string{unsigned, "state/v12-create-missing", "state/v12-other-room", "state/v12-signature", "state/v12-stripped"}},
	} {
		t.Run(string(name), func(t *testing.T) {
			peer := n.NewServer(t, "peer.of.the."+name+"example")
			server := n.NewServer(t, name, func(s *invitetest.ServerConfig) {
				s.Receiver = func(c2 *fedinvite.Config) { c2.RoomState, c2.Policy = c.policy, wanted }
			})
			server.RotateKey()
			var departed []string
			for r := range invitetest.Results(t.Context(), asTarget(peer, server), harmless()...) {
				switch r.Outcome {
				case invitetest.Departed:
					departed = append(departed, r.Name)
				case invitetest.Passed:
					if r.Detail != "" || len(r.Exchange) == 0 {
						t.Errorf("%s, and %d exchanges", r, len(r.Exchange))
					}
				default:
					t.Error(r)
				}
			}
			slices.Sort(departed)
			if !slices.Equal(departed, c.except) {
				t.Errorf("departs in %q, want %q", departed, c.except)
			}
		})
	}
}

// Run, of a bare Receiver that is mounted as an http.Handler, without the network of the
// target's own: the shortest form.
func TestRun(t *testing.T) {
	t.Parallel()
	peer := invitetest.NewServer(t, "peer.example")
	receiver := peer.IntroduceHandler("mine.example", fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }))
	invitetest.Run(t, invitetest.Target{
		Name: "mine.example", Invitee: "@bob:mine.example", Peer: peer, Versions: []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11},
		Handler: invitetest.WithKeys(receiver, invitetest.Signer("mine.example")),
	}, "receive/unsigned-kept", "auth/no-destination")
}

// Who names the keys of the target need not publish them.
func TestKeysOfATarget(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	receiver := peer.IntroduceHandler("mine.example", fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }))
	target := invitetest.Target{
		Name: "mine.example", Invitee: "@bob:mine.example", Peer: peer, Handler: receiver, Versions: []fedinvite.RoomVersion{fedinvite.RoomV12},
	}
	accepts := checkNamed(t, "receive/v12")
	if r := accepts.Run(t.Context(), target); r.Outcome != invitetest.Unknown || !strings.Contains(r.Detail, "keys") {
		t.Error(r)
	}
	target.Keys = invitetest.Keys("mine.example")
	if r := accepts.Run(t.Context(), target); r.Outcome != invitetest.Passed {
		t.Error(r)
	}
	for _, name := range []string{"keys/document", "receive/signature-of-published-key", "receive/v11", "receive/key-validity-ignored", "v1/v1", "v1/type",
		"event/event-id-v1", "event/canonical-json-ignored", "receive/event-id-escaped", "send/v12", "send/fallback", "send/refused", "receive/blocked",
		"state/stripped"} {
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Skipped || r.Detail == "" {
			t.Error(r)
		}
	}
}

// A target elsewhere is found at its URL, by a certificate for its name or its address.
func TestTargetsAtURLs(t *testing.T) {
	ours, theirs := invitetest.NewNetwork(t), invitetest.NewNetwork(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	certificate := theirs.Certificate("b.example")
	peer := ours.NewServer(t, "")
	server := theirs.NewServer(t, "b.example", func(c *invitetest.ServerConfig) {
		c.Listener, c.Certificate, c.Transport = listener, &certificate, ours.Transport()
	})
	target := asTarget(peer, server)
	target.URL, target.Roots, target.Versions = "https://"+address, theirs.Roots(), []fedinvite.RoomVersion{fedinvite.RoomV12}
	for _, name := range []string{"receive/v12", "keys/document"} {
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Passed {
			t.Error(r)
		}
	}
	for name, change := range map[string]func(*invitetest.Target){
		"other roots": func(c *invitetest.Target) { c.Roots = ours.Roots() },
		"no roots":    func(c *invitetest.Target) { c.Roots = nil },
		"other name":  func(c *invitetest.Target) { c.Name, c.Invitee, c.Blocking = "c.example", "@bob:c.example", "" },
		"no TLS":      func(c *invitetest.Target) { c.URL = "http://" + address },
	} {
		wrong := target
		change(&wrong)
		if r := checkNamed(t, "keys/document").Run(t.Context(), wrong); r.Outcome == invitetest.Passed {
			t.Errorf("%s: %s", name, r)
		}
	}
}

func TestWrongTargets(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	good := invitetest.Target{Name: "a.example", Invitee: "@bob:a.example", Peer: peer, URL: "https://127.0.0.1:1"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*invitetest.Target){
		"Name":            func(c *invitetest.Target) { c.Name = "" },
		"Peer is":         func(c *invitetest.Target) { c.Peer = nil },
		"Peer has":        func(c *invitetest.Target) { c.Name, c.Invitee = "peer.example", "@bob:peer.example" },
		"both":            func(c *invitetest.Target) { c.Handler = http.NotFoundHandler() },
		"URL":             func(c *invitetest.Target) { c.URL = "https://a.example/path" },
		"write https://a": func(c *invitetest.Target) { c.URL = "a.example:8448" },
		"identifier":      func(c *invitetest.Target) { c.Invitee = "" },
		"not a user":      func(c *invitetest.Target) { c.Invitees = []string{"@bob:b.example"} },
		"@carol:b":        func(c *invitetest.Target) { c.Blocking = "@carol:b.example" },
		"Versions":        func(c *invitetest.Target) { c.Versions = []fedinvite.RoomVersion{"99"} },
		"Timeout is neg":  func(c *invitetest.Target) { c.Timeout = -1 },
	} {
		target := good
		change(&target)
		err := target.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
			continue
		}
		for _, r := range invitetest.Conformance(t.Context(), target) {
			if r.Outcome != invitetest.Unknown || r.Detail != err.Error() {
				t.Fatal(r)
			}
		}
	}
}

func TestConformanceEndsWithItsContext(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	ctx, cancel := context.WithCancelCause(t.Context())
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { cancel(errors.New("enough")) })
	target := invitetest.Target{Name: "a.example", Invitee: "@bob:a.example", Peer: peer, Handler: handler}
	for _, r := range invitetest.Conformance(ctx, target) {
		if r.Outcome != invitetest.Unknown || r.Detail != "enough" {
			t.Fatal(r)
		}
	}
}

// Whoever is overloaded is asked again, and if there is no end to it nothing is known.
func TestOverloadedTargets(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	n := 0
	limit := func(_ context.Context, d *fedinvite.Delivery) error {
		if n++; n%3 != 0 {
			return &fedinvite.Error{Code: fedinvite.CodeLimitExceeded, RetryAfter: time.Millisecond}
		}
		return nil
	}
	target := introduce(t, peer, departing{config: func(c *fedinvite.Config) { c.Admit = limit }})
	if r := checkNamed(t, "receive/v11").Run(t.Context(), target); r.Outcome != invitetest.Passed || n != 6 { // of two invites
		t.Errorf("%s after %d requests", r, n)
	}
	target = introduce(t, peer, departing{config: func(c *fedinvite.Config) {
		c.Admit = func(context.Context, *fedinvite.Delivery) error {
			return &fedinvite.Error{Code: fedinvite.CodeLimitExceeded, RetryAfter: time.Hour}
		}
	}})
	for _, name := range []string{"receive/v11", "receive/type", "body/unknown-room-version-named"} {
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Unknown || !strings.Contains(r.Detail, "429") {
			t.Error(r)
		}
	}
}

// Links lead to headings of the specification; names and sentences are good for reading.
func TestChecks(t *testing.T) {
	names := map[string]bool{}
	for _, c := range invitetest.Checks() {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		page, anchor, ok := strings.Cut(strings.TrimPrefix(c.Link, "https://spec.matrix.org/v1.19/"), "#")
		if !(ok && anchor != "" || page == "rooms/") || strings.HasPrefix(page, "http") {
			t.Errorf("%s: link %s", c.Name, c.Link)
		}
		if !strings.HasSuffix(c.Sentence, ".") || strings.ContainsAny(c.Sentence, "\n<>") {
			t.Errorf("%s: %s", c.Name, c.Sentence)
		}
		if l := c.Level; l != invitetest.Must && l != invitetest.Should && l != invitetest.Practice {
			t.Errorf("%s: level %v", c.Name, l)
		}
	}
	for _, c := range invitetest.Attacks() {
		if !c.Attack || !names[c.Name] {
			t.Errorf("%s is no attack", c.Name)
		}
	}
}

// What endangers servers is not in a table for publication, whatever check found it.
func TestTables(t *testing.T) {
	results := []invitetest.Result{
		{Check: invitetest.Check{Name: "a/b", Sentence: "One | two.", Link: "https://spec.matrix.org/x", Level: invitetest.Must}, Outcome: invitetest.Passed},
		{
			Check:   invitetest.Check{Name: "a/c", Sentence: "Three.", Level: invitetest.Should},
			Outcome: invitetest.Departed, Detail: "answers <b>\nM_X_Y [z](http://evil)", Said: "KeyError('origin')\x1b",
		},
		{Check: invitetest.Check{Name: "secret", Sentence: "Four.", Level: invitetest.Must, Attack: true}, Outcome: invitetest.Departed, Detail: "it signs"},
		{Check: invitetest.Check{Name: "a/d", Sentence: "Five.", Level: invitetest.Practice}, Outcome: invitetest.Skipped, Detail: "no"},
		{Check: invitetest.Check{Name: "a/e", Sentence: "Six.", Level: invitetest.Practice}, Outcome: invitetest.Unknown, Detail: "no answer"},
	}
	var text, markdown bytes.Buffer
	if err := errors.Join(invitetest.WriteTable(&text, results), invitetest.WriteMarkdown(&markdown, results)); err != nil {
		t.Fatal(err)
	}
	sameText(t, `ok       MUST     a/b
departs  SHOULD   a/c                              answers <b> M_X_Y [z](http://evil); it says "KeyError('origin')�"
         Three.
departs  MUST     secret                           it signs
         Four.
skipped  practice a/d                              no
unknown  practice a/e                              no answer
5 checks: 1 ok, 1 depart from MUST, 1 depart from SHOULD, 1 skipped, 1 unknown
`, text.String())
	sameText(t, strings.ReplaceAll(`| check | level | result | what the specification says, and what came |
| --- | --- | --- | --- |
| [a/b](https://spec.matrix.org/x) | MUST | ok | One \| two. |
| [a/c]() | SHOULD | departs | Three.<br>'answers <b> M_X_Y [z](http://evil)' |
| [a/d]() | practice | skipped | Five.<br>'no' |
| [a/e]() | practice | unknown | Six.<br>'no answer' |

4 checks: 1 ok, 1 depart from SHOULD, 1 skipped, 1 unknown.
`, "'", "`"), markdown.String())
	raw, err := json.Marshal(results[1])
	if err != nil || !strings.Contains(string(raw), `"level":"SHOULD","outcome":"departs"`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func sameText(t *testing.T, want, got string) {
	t.Helper()
	if want != got {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Texts of a target are fit for a terminal, and short.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	peer := invitetest.NewServer(t, "peer.example")
	target := introduce(t, peer, departing{wrap: rewriting(func(r *http.Request, a *reply) {
		if strings.Contains(r.URL.Path, "/invite/") {
			a.status, a.body = 400, []byte(`{"errcode":"M_\u001b[2J`+strings.Repeat("x", 1<<19)+`","error":"`+strings.Repeat("\x1b", 1<<18)+`"}`)
		}
	})})
	for r := range invitetest.Results(t.Context(), target, harmless()...) {
		all := r.Detail
		for _, x := range r.Exchange {
			all += x.Request + x.Response
		}
		if strings.ContainsRune(all, '\x1b') || len(r.Detail) > 4000 || len(all) > len(r.Exchange)*2*(4<<10+20)+4000 {
			t.Errorf("%s: %d bytes", r.Name, len(all))
		}
	}
}

package fedinvite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

func TestNewReceiverNamesWhatIsMissing(t *testing.T) {
	full := fedinvite.Config{
		Signer:  func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return nil, nil },
		Keys:    fedinvite.KeyMap{},
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
	if _, err := fedinvite.NewReceiver(full); err != nil {
		t.Fatalf("with all that is required: %v", err)
	}
	for field, edit := range map[string]func(*fedinvite.Config){
		"Signer":    func(c *fedinvite.Config) { c.Signer = nil },
		"Keys":      func(c *fedinvite.Config) { c.Keys = nil },
		"Handler":   func(c *fedinvite.Config) { c.Handler = nil },
		"RoomState": func(c *fedinvite.Config) { c.RoomState = fedinvite.StateOff + 1 },
		"MaxBody":   func(c *fedinvite.Config) { c.MaxBody = -1 },
		"Timeout":   func(c *fedinvite.Config) { c.Timeout = -1 },
	} {
		c := full
		edit(&c)
		if r, err := fedinvite.NewReceiver(c); r != nil || err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("bad %s: error %v, want one that names it", field, err)
		}
	}
}

// What costs nothing comes before what costs key look-ups and cryptography, and
// nothing is signed that was not checked.
func TestCheapBeforeCostly(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	v12 := newRoom(fedinvite.RoomV12)
	base := r.sendInvite()
	no := fedinvite.Refuse(fedinvite.CodeForbidden, "no")
	limit := func(c *fedinvite.Config) { c.MaxBody = 100 }
	altered := func(body string) func(*http.Request) {
		return func(req *http.Request) { *req = *withBody(req, body) }
	}
	const credentials, signer, admit, keyA, acl, policy = "credentials", "signer", "admit", "key of a.example", "acl", "policy"

	for _, c := range []struct {
		name    string
		letter  letter
		request func(*http.Request)
		config  func(*fedinvite.Config)
		want    verdict
		trace   []string
	}{
		{"path", base, func(req *http.Request) { req.RequestURI += "/x" }, nil, notFound, nil},
		{"method", base, func(req *http.Request) { req.Method = http.MethodPost }, nil, verdict{http.StatusMethodNotAllowed, fedinvite.CodeUnrecognized}, nil},
		{"authorization", base, func(req *http.Request) { req.Header.Del("Authorization") }, nil, unauthorized, []string{credentials}},
		{"destination", letterTo(base, serverC), nil, nil, unauthorized, []string{credentials, signer}},
		{"body size", base, nil, limit, tooLarge, []string{credentials, signer}},
		{"body", base, altered("{"), nil, notJSON, []string{credentials, signer}},
		{"member of the body", base, altered("{}"), nil, missingParam, []string{credentials, signer}},
		{"admit", base, nil, func(c *fedinvite.Config) { c.Admit = func(context.Context, *fedinvite.Delivery) error { return no } }, forbidden,
			[]string{credentials, signer, admit}},
		{"request signature", base, altered(string(r.sendInvite(set(6, "depth")).Body)), nil, unauthorized,
			[]string{credentials, signer, admit, keyA}},
		{"room version", r.withVersion(`"99"`), nil, nil, verdict{http.StatusBadRequest, fedinvite.CodeIncompatibleRoomVersion},
			[]string{credentials, signer, admit, keyA}},
		{"event format", r.sendInvite(drop("depth")), nil, nil, badJSON, []string{credentials, signer, admit, keyA}},
		{"path IDs", toRoom(r.sendInvite(set("!x:a.example", "room_id")), r.ID()), nil, nil, invalidParam, []string{credentials, signer, admit, keyA}},
		{"invite", r.sendInvite(set("join", "content", "membership")), nil, nil, invalidParam, []string{credentials, signer, admit, keyA}},
		{"server ACL", base, nil, withACL(t, `{"allow":[]}`), forbidden, []string{credentials, signer, admit, keyA, acl}},
		{"policy", base, nil, withPolicy(no), forbidden, []string{credentials, signer, admit, keyA, acl, policy}},
		{"event signatures: none", r.Request(change(r.signedInvite(), drop("signatures")), serverB), nil, nil, invalidParam,
			[]string{credentials, signer, admit, keyA, acl, policy}},
		{"event signatures: bad", r.Request(change(r.signedInvite(), set("AAAA", "signatures", string(serverA), "ed25519:1")), serverB), nil, nil, invalidParam,
			[]string{credentials, signer, admit, keyA, acl, policy, keyA}},
		{"content hash", r.Request(change(r.signedInvite(), set("x", "content", "reason")), serverB), nil, func(c *fedinvite.Config) { c.RefuseHashMismatch = true }, invalidParam,
			[]string{credentials, signer, admit, keyA, acl, policy, keyA}},
		{"room state", v12.RequestWithState(v12.signedInvite(), serverB, nil), nil, nil, invalidParam, []string{credentials, signer, admit, keyA, acl, policy, keyA}},
		{"room state signature", v12.RequestWithState(v12.signedInvite(), serverB, encode([]any{change(v12.create(), set("AAAA", "signatures", string(serverA), "ed25519:1"))})), nil, nil, invalidParam,
			[]string{credentials, signer, admit, keyA, acl, policy, keyA, keyA}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var edits []func(*fedinvite.Config)
			if c.config != nil {
				edits = append(edits, c.config)
			}
			h := newHost(t, edits...)
			req := c.letter.Inbound(t.Context())
			if c.request != nil {
				c.request(req)
			}
			_, err := h.refuses(t, req, c.want)
			if diff := cmp.Diff(append(c.trace, "done"), h.trace); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			if err.Error() == "" {
				t.Error("the error says nothing")
			}
		})
	}
	t.Run("accepted", func(t *testing.T) {
		h := newHost(t)
		h.accepts(t, base, nil)
		want := []string{credentials, signer, admit, keyA, acl, policy, keyA, "sign", "handler", "done"}
		if diff := cmp.Diff(want, h.trace); diff != "" {
			t.Errorf("hooks (-want +got):\n%s", diff)
		}
	})
}

// toRoom addresses the letter to another room than the event's.
func toRoom(l letter, roomID string) letter {
	l.RoomID = roomID
	return l
}

// withBody returns the request with another body under the same signature.
func withBody(req *http.Request, body string) *http.Request {
	other := httptest.NewRequest(req.Method, req.RequestURI, strings.NewReader(body))
	other.Header = req.Header
	return other
}

func TestDoneIsToldWhatWasKnown(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	l := r.sendInvite()
	for _, c := range []struct {
		name    string
		request func(*http.Request)
		config  func(*fedinvite.Config)
		want    fedinvite.Delivery
		invite  bool
	}{
		{"wrong method", func(req *http.Request) { req.Method = http.MethodGet }, nil,
			fedinvite.Delivery{RoomID: l.RoomID, EventID: l.EventID}, false},
		{"body not read", nil, func(c *fedinvite.Config) { c.MaxBody = 1 },
			fedinvite.Delivery{RoomID: l.RoomID, EventID: l.EventID, Origin: serverA, Destination: serverB}, false},
		{"policy", nil, withPolicy(errors.New("no")), deliveryOf(t, l), true},
		{"accepted", nil, nil, deliveryOf(t, l), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Remote = netip.MustParseAddrPort("192.0.2.1:1234") // that of httptest
			var edits []func(*fedinvite.Config)
			if c.config != nil {
				edits = append(edits, c.config)
			}
			h := newHost(t, edits...)
			req := l.Inbound(t.Context())
			if c.request != nil {
				c.request(req)
			}
			answer(h, req)
			if len(h.done) != 1 {
				t.Fatalf("Done was called %d times, want once", len(h.done))
			}
			if diff := cmp.Diff(c.want, h.done[0].delivery, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("delivery (-want +got):\n%s", diff)
			}
			if got := h.done[0].invite != nil; got != c.invite {
				t.Errorf("invite known: %v, want %v", got, c.invite)
			}
		})
	}
}

const secret = "secret of the database"

func TestErrorsOfHooks(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	l := r.sendInvite()
	teapot := fedinvite.Refuse(fedinvite.CodeForbidden, "told")
	teapot.Status = http.StatusTeapot
	withInner := fedinvite.Refuse(fedinvite.CodeForbidden, "told")
	withInner.Err = errors.New(secret)
	success := fedinvite.Refuse(fedinvite.CodeForbidden, "told")
	success.Status = http.StatusOK

	hooks := map[string]func(error) func(*fedinvite.Config){
		"Signer": func(err error) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) {
				c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return nil, err }
			}
		},
		"Admit": func(err error) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) { c.Admit = func(context.Context, *fedinvite.Delivery) error { return err } }
		},
		"ServerAllowed": func(err error) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) {
				c.ServerAllowed = func(context.Context, string, fedinvite.ServerName) (bool, error) { return true, err }
			}
		},
		"Policy": withPolicy,
		"Handler": func(err error) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) {
				c.Handler = fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return err })
			}
		},
		"Rules": func(err error) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) {
				c.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.Rules{}, err }
			}
		},
	}
	for hook, fail := range hooks {
		for _, c := range []struct {
			name string
			err  error
			want verdict
		}{
			{"a refusal counts", fedinvite.Refuse(fedinvite.CodeInviteBlocked, "told"), verdict{http.StatusForbidden, fedinvite.CodeInviteBlocked}},
			{"a wrapped refusal counts", fmt.Errorf(secret+": %w", fedinvite.Refuse(fedinvite.CodeForbidden, "told")), forbidden},
			{"a refusal's inner error stays here", withInner, forbidden},
			{"a refusal with a status of its own", teapot, verdict{http.StatusTeapot, fedinvite.CodeForbidden}},
			{"a refusal is never a success", success, forbidden},
			{"404 is 403, as old peers would retry", fedinvite.Refuse(fedinvite.CodeNotFound, "told"), verdict{http.StatusForbidden, fedinvite.CodeNotFound}},
			{"a plain error is 500 without its text", errors.New(secret), internal},
			{"a plain error that wraps one of this package is 500", fmt.Errorf(secret+": %w", fedinvite.ErrNotJSON), internal},
			{"a context that ended is 500", context.DeadlineExceeded, internal},
		} {
			t.Run(hook+": "+c.name, func(t *testing.T) {
				h := newHost(t, fail(c.err))
				w := answer(h, l.Inbound(t.Context()))
				wantVerdict(t, w, c.want)
				if strings.Contains(w.Body.String(), "secret") {
					t.Errorf("the peer was told %s", w.Body)
				}
				if len(h.done) != 1 || !errors.Is(h.done[0].err, c.err) {
					t.Errorf("Done got %v, want the hook's error once", h.done)
				}
				if hook != "Handler" && h.signed != 0 {
					t.Error("signed though a hook failed")
				}
			})
		}
	}
}

func TestErrorsOfTheSigner(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	for name, s := range map[string]fedinvite.Signer{
		"no signer":            nil,
		"signer of another":    invitetest.Signer(serverB2),
		"signer that fails":    &brokenSigner{invitetest.Signer(serverB), nil, errors.New(secret)},
		"signature cut short":  &brokenSigner{invitetest.Signer(serverB), make([]byte, 63), nil},
		"refusal of a signer":  &brokenSigner{invitetest.Signer(serverB), nil, fmt.Errorf(secret+": %w", fedinvite.ErrSignature)},
		"signature of nothing": &brokenSigner{invitetest.Signer(serverB), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, func(c *fedinvite.Config) {
				c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return s, nil }
			})
			w := answer(h, l.Inbound(t.Context()))
			wantVerdict(t, w, internal)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the peer was told %s", w.Body)
			}
			if len(h.handled) != 0 || len(h.done) != 1 || h.done[0].err == nil {
				t.Errorf("handled %d times, done %v, want an error and nothing stored", len(h.handled), h.done)
			}
		})
	}
}

type brokenSigner struct {
	fedinvite.Signer
	signature []byte
	err       error
}

func (s *brokenSigner) Sign(context.Context, []byte) ([]byte, error) { return s.signature, s.err }

func TestKeySourceOutage(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	via := set("@x:c.example", "content", "join_authorised_via_users_server")
	withAuthorisation := r.Request(r.Sign(r.InviteDraft(bob, via), invitetest.Signer(serverA), invitetest.Signer(serverC)), serverB)
	for _, c := range []struct {
		name string
		err  error
	}{
		{"plain", errors.New(secret)},
		{"context", context.DeadlineExceeded},
		{"key document too large", fmt.Errorf(secret+": %w", fedinvite.ErrTooLarge)},
		{"key document not JSON", fmt.Errorf(secret+": %w", fedinvite.ErrNotJSON)},
	} {
		// outage fails the n-th look-up and those after it.
		outage := func(n int64) func(*fedinvite.Config) {
			return func(config *fedinvite.Config) {
				var count atomic.Int64
				keys := config.Keys
				config.Keys = keyFunc(func(ctx context.Context, s fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
					if count.Add(1) >= n {
						return fedinvite.VerifyKey{}, c.err
					}
					return keys.VerifyKey(ctx, s, id, at)
				})
			}
		}
		for n, what := range []string{"request signature", "event signature", "authorising server's signature"} {
			t.Run(c.name+", "+what+": 503", func(t *testing.T) {
				h := newHost(t, outage(int64(n)+1))
				body, err := h.refuses(t, withAuthorisation.Inbound(t.Context()), keysDown)
				if !errors.Is(err, fedinvite.ErrKeysUnavailable) || !errors.Is(err, c.err) {
					t.Errorf("Done got %v, want %v and %v", err, fedinvite.ErrKeysUnavailable, c.err)
				}
				if strings.Contains(fmt.Sprint(body), "secret") {
					t.Errorf("the peer was told %v", body)
				}
			})
		}
	}
	t.Run("a made-up key besides a known one makes no outage", func(t *testing.T) {
		event := r.Sign(r.InviteDraft(bob), invitetest.Signer(serverA), invitetest.SignerWithKey(serverA, "ed25519:made_up"))
		newHost(t, func(c *fedinvite.Config) {
			keys := c.Keys
			c.Keys = keyFunc(func(ctx context.Context, s fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
				if id == "ed25519:made_up" {
					return fedinvite.VerifyKey{}, errors.New("down")
				}
				return keys.VerifyKey(ctx, s, id, at)
			})
			c.Credentials = xmatrix.Verifier{Keys: keys, Now: eventClock}.Credentials
		}).accepts(t, r.Request(event, serverB), nil)
	})
}

func TestContexts(t *testing.T) {
	type key struct{}
	l := newRoom(fedinvite.RoomV11).sendInvite()
	var policy, handler, done context.Context
	h := newHost(t, func(c *fedinvite.Config) {
		c.Policy = func(ctx context.Context, _ *fedinvite.Invite) error { policy = ctx; return nil }
		c.Handler = fedinvite.HandlerFunc(func(ctx context.Context, _ *fedinvite.Invite) error { handler = ctx; return nil })
		c.Done = func(ctx context.Context, _ *fedinvite.Delivery, _ *fedinvite.Invite, _ error) { done = ctx }
	})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "x"))
	answer(h, l.Inbound(t.Context()).WithContext(ctx))

	for name, got := range map[string]context.Context{"Policy": policy, "Handler": handler, "Done": done} {
		if got == nil || got.Value(key{}) != "x" {
			t.Fatalf("the context of %s is not that of the request", name)
		}
	}
	if _, ok := policy.Deadline(); !ok {
		t.Error("the context of Policy has no deadline")
	}
	for name, got := range map[string]context.Context{"Handler": handler, "Done": done} {
		if _, ok := got.Deadline(); ok {
			t.Errorf("the context of %s has a deadline", name)
		}
		if got.Err() != nil {
			t.Errorf("the context of %s has ended: %v", name, got.Err())
		}
	}
	cancel()
	if handler.Err() == nil {
		t.Error("the context of Handler does not end when the inviting server hangs up")
	}
}

func TestTimeout(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	for _, c := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{{"default", 0, 30 * time.Second}, {"set", time.Minute, time.Minute}} {
		t.Run(c.name, func(t *testing.T) {
			l := r.sendInvite()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := newHost(t, func(cfg *fedinvite.Config) {
					cfg.Timeout = c.timeout
					cfg.Keys = keyFunc(func(ctx context.Context, _ fedinvite.ServerName, _ fedinvite.KeyID, _ time.Time) (fedinvite.VerifyKey, error) {
						<-ctx.Done()
						return fedinvite.VerifyKey{}, ctx.Err()
					})
				})
				h.refuses(t, l.Inbound(t.Context()), keysDown)
				if diff := cmp.Diff(c.want, time.Since(start)); diff != "" {
					t.Errorf("time (-want +got):\n%s", diff)
				}
			})
		})
	}
	t.Run("the Handler may take longer", func(t *testing.T) {
		l := r.sendInvite()
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, func(c *fedinvite.Config) {
				c.Handler = fedinvite.HandlerFunc(func(ctx context.Context, _ *fedinvite.Invite) error {
					time.Sleep(time.Hour) // of the bubble
					return ctx.Err()
				})
			})
			h.accepts(t, l, nil)
		})
	})
}

func TestTwoHostNames(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	onB2 := func(l letter) letter { return letterTo(l, serverB2) }
	inv := newHost(t).accepts(t, onB2(r.sendInvite(set("@b:b2.example", "state_key"))), nil)
	if diff := cmp.Diff(serverB2, inv.Destination); diff != "" {
		t.Errorf("destination (-want +got):\n%s", diff)
	}
	newHost(t).refuses(t, onB2(r.sendInvite()).Inbound(t.Context()), invalidParam)
}

func TestReceiveAndCheck(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	l := r.sendInvite()

	t.Run("Receive answers as ServeHTTP does", func(t *testing.T) {
		h := newHost(t)
		res, err := h.Receive(t.Context(), deliveryOf(t, l))
		if err != nil {
			t.Fatal(err)
		}
		h.checkSigned(t, res.Event, nil, l)
		w := answer(newHost(t), l.Inbound(t.Context()))
		if diff := cmp.Diff(string(replyEvent(t, l, w.Body.Bytes())), string(res.Event)); diff != "" {
			t.Errorf("reply (-http +direct):\n%s", diff)
		}
		want := []string{"signer", "admit", "acl", "policy", "key of a.example", "sign", "handler", "done"}
		if diff := cmp.Diff(want, h.trace); diff != "" {
			t.Errorf("hooks (-want +got):\n%s", diff)
		}
	})
	t.Run("Check signs and stores nothing, and calls no Done", func(t *testing.T) {
		h := newHost(t)
		inv, err := h.Check(t.Context(), deliveryOf(t, l))
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := carried(t, l)
		if diff := cmp.Diff(canonicalText(t, string(sent)), string(inv.Event.AppendJSON(nil))); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		if len(inv.RoomState.Events) != len(r.RoomState()) || inv.Invitee != bob {
			t.Errorf("invite %+v", inv)
		}
		want := []string{"signer", "admit", "acl", "policy", "key of a.example"}
		if diff := cmp.Diff(want, h.trace); diff != "" {
			t.Errorf("hooks (-want +got):\n%s", diff)
		}
	})
	for _, c := range []struct {
		name string
		edit func(*fedinvite.Delivery)
		want verdict
	}{
		{"no origin", func(d *fedinvite.Delivery) { d.Origin = "" }, unauthorized},
		{"malformed origin", func(d *fedinvite.Delivery) { d.Origin = "a_b" }, unauthorized},
		{"malformed destination", func(d *fedinvite.Delivery) { d.Destination = "[::1" }, unauthorized},
		{"destination not ours", func(d *fedinvite.Delivery) { d.Destination = serverC }, unauthorized},
		{"other origin", func(d *fedinvite.Delivery) { d.Origin = serverC }, invalidParam},
		{"no event", func(d *fedinvite.Delivery) { d.Request.Event = nil }, missingParam},
		{"no room version", func(d *fedinvite.Delivery) { d.Request.RoomVersion = "" }, missingParam},
		{"room version too long", func(d *fedinvite.Delivery) {
			d.Request.RoomVersion = fedinvite.RoomVersion(strings.Repeat("x", 256))
		}, badJSON},
		{"event not JSON", func(d *fedinvite.Delivery) { d.Request.Event = json.RawMessage("{") }, notJSON},
		{"event is no object", func(d *fedinvite.Delivery) { d.Request.Event = json.RawMessage("[]") }, badJSON},
		{"event has duplicate keys", func(d *fedinvite.Delivery) {
			d.Request.Event = json.RawMessage(strings.Replace(string(d.Request.Event), "{", `{"type":"x",`, 1))
		}, badJSON},
		{"v1 and a version that computes the event ID", func(d *fedinvite.Delivery) { d.V1 = true }, invalidParam},
		{"too much room state", func(d *fedinvite.Delivery) { d.Request.RoomState = make([]json.RawMessage, 101) }, invalidParam},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deliveryOf(t, l)
			c.edit(&d)
			h := newHost(t)
			res, err := h.Receive(t.Context(), d)
			e := fedinvite.WireError(err)
			if res != nil || e == nil {
				t.Fatalf("response %v, want an error", res)
			}
			if diff := cmp.Diff(c.want, verdict{e.Status, e.Code}); diff != "" {
				t.Errorf("refusal (-want +got):\n%s%v", diff, err)
			}
			if h.signed != 0 || len(h.handled) != 0 || len(h.done) != 1 || h.done[0].err == nil {
				t.Errorf("signed %d, handled %d, done %v", h.signed, len(h.handled), h.done)
			}
			if _, again := h.Check(t.Context(), d); fedinvite.WireError(again).Code != c.want.Code {
				t.Errorf("Check: %v, Receive: %v", again, err)
			}
		})
	}
}

// The keys of both hosts are swapped while invites arrive for both: every reply has
// one signature of its host, by one of its keys.
func TestKeyRotationUnderLoad(t *testing.T) {
	const workers, invites = 8, 25
	names := []fedinvite.ServerName{serverB, serverB2}
	ids := []fedinvite.KeyID{"ed25519:1", "ed25519:2"}
	keys := invitetest.Keys(serverA)
	signers := map[fedinvite.ServerName][]fedinvite.Signer{}
	for _, name := range names {
		for _, id := range ids {
			s := invitetest.SignerWithKey(name, id)
			keys.Add(s)
			signers[name] = append(signers[name], s)
		}
	}
	var turn, handled, done atomic.Int64
	var used [2]atomic.Int64 // by key ID
	rc, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			return signers[name][turn.Load()%2], nil
		},
		Keys:        keys,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { handled.Add(1); return nil }),
		Credentials: xmatrix.Verifier{Keys: keys, Now: eventClock}.Credentials,
		Done:        func(context.Context, *fedinvite.Delivery, *fedinvite.Invite, error) { done.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(fedinvite.RoomV11)
	var letters []letter
	for _, name := range names {
		letters = append(letters, letterTo(r.sendInvite(set("@b:"+string(name), "state_key")), name))
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range invites {
				l := letters[(w+i)%2]
				res := answer(rc, l.Inbound(t.Context()))
				if res.Code != http.StatusOK {
					t.Errorf("status %d: %s", res.Code, res.Body)
					return
				}
				e, err := fedinvite.ParseStored(replyEvent(t, l, res.Body.Bytes()), r.Rules())
				if err != nil {
					t.Error(err)
					return
				}
				ours := decode(e.Signatures())[string(l.To)].(object)
				if err := e.Verify(t.Context(), keys, l.To); err != nil || len(ours) != 1 {
					t.Errorf("signatures %v: %v", ours, err)
				}
				for i, id := range ids {
					if ours[string(id)] != nil {
						used[i].Add(1)
					}
				}
				turn.Add(1)
			}
		})
	}
	wg.Wait()
	if n := int64(workers * invites); handled.Load() != n || done.Load() != n {
		t.Errorf("handled %d, done %d, want %d each", handled.Load(), done.Load(), n)
	}
	if used[0].Load() == 0 || used[1].Load() == 0 {
		t.Errorf("keys used %d and %d times, want both", used[0].Load(), used[1].Load())
	}
}

// Whatever is done to a request, it is answered with JSON, and what is signed is
// an invite of the origin for a local user.
func TestHostileRequests(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var letters []letter
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV5, fedinvite.RoomV11, fedinvite.RoomV12} {
		letters = append(letters, newRoom(v).sendInvite())
	}
	v1 := newRoom(fedinvite.RoomV1)
	letters = append(letters, v1.RequestV1(v1.signedInvite(), serverB))
	for range 500 {
		l := letters[random.IntN(len(letters))]
		l.Body = mutate(random, l.Body)
		checkReceive(t, l)
	}
}

// mutate damages a body in a few places.
func mutate(random *rand.Rand, body []byte) []byte {
	body = bytes.Clone(body)
	for range 1 + random.IntN(3) {
		i := random.IntN(len(body))
		switch random.IntN(4) {
		case 0:
			body[i] = byte(random.Uint32())
		case 1:
			body = append(body[:i], body[i+random.IntN(len(body)-i):]...)
		case 2:
			tokens := []string{`{`, `}`, `[`, `]`, `"`, `,`, `:`, `null`, `1e9`, `\u0000`, `\ud800`, "\xff", `{"a":1,"a":2}`, `0.1`}
			body = append(body[:i:i], append([]byte(tokens[random.IntN(len(tokens))]), body[i:]...)...)
		case 3:
			j := i + random.IntN(len(body)-i)
			body = append(body[:j:j], append(bytes.Clone(body[i:j]), body[j:]...)...)
		}
		if len(body) == 0 {
			return []byte(" ")
		}
	}
	return body
}

// checkReceive sends a body by an authenticated origin and checks that nothing was
// signed but an invite of the origin for a local user.
func checkReceive(t testing.TB, l letter) {
	t.Helper()
	h := newHost(t, func(c *fedinvite.Config) {
		c.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
			return fedinvite.Credentials{Origin: l.From.ServerName(), Destination: l.To, Verify: func(context.Context, []byte) error { return nil }}, nil
		}
		// Whatever the event is, the path fits it.
		c.Admit = func(_ context.Context, d *fedinvite.Delivery) error {
			rules, err := d.Request.RoomVersion.Rules()
			if err != nil {
				return nil
			}
			if e, err := fedinvite.ParseEvent(d.Request.Event, rules); err == nil {
				d.RoomID, d.EventID = e.RoomID(), e.ID()
			}
			return nil
		}
	})
	w := answer(h, httptest.NewRequest(http.MethodPut, l.Path(), bytes.NewReader(l.Body)))
	if len(h.done) != 1 {
		t.Fatalf("Done was called %d times, want once", len(h.done))
	}
	if !json.Valid(w.Body.Bytes()) {
		t.Fatalf("the answer is not JSON: %s", w.Body)
	}
	if w.Code != http.StatusOK {
		if h.signed != 0 || len(h.handled) != 0 || h.done[0].err == nil {
			t.Fatalf("status %d, but signed %d times, handled %d times, done %v", w.Code, h.signed, len(h.handled), h.done[0].err)
		}
		if w.Code >= 500 {
			t.Fatalf("status %d: %s, %v", w.Code, w.Body, h.done[0].err)
		}
		return
	}
	if h.signed != 1 || len(h.handled) != 1 || h.done[0].err != nil {
		t.Fatalf("status 200, but signed %d times, handled %d times, done %v", h.signed, len(h.handled), h.done[0].err)
	}
	inv := h.handled[0]
	reply := decode(replyEvent(t, l, w.Body.Bytes()))
	content, _ := reply["content"].(object)
	stateKey, _ := reply["state_key"].(string)
	sender, _ := reply["sender"].(string)
	if reply["type"] != "m.room.member" || content["membership"] != "invite" ||
		!strings.HasSuffix(sender, ":"+string(l.From.ServerName())) || !strings.HasSuffix(stateKey, ":"+string(l.To)) {
		t.Fatalf("signed what is no invite from %s to %s: %v", l.From.ServerName(), l.To, reply)
	}
	if err := inv.Event.Verify(t.Context(), h.keys, l.From.ServerName(), l.To); err != nil {
		t.Fatalf("signed an event that does not verify: %v", err)
	}
	for _, entry := range inv.RoomState.Client() {
		if len(decode(entry)) != 4 {
			t.Fatalf("clients would get %s", entry)
		}
	}
}

func FuzzReceive(f *testing.F) {
	for _, v := range fedinvite.RoomVersions() {
		r := newRoom(v)
		f.Add(r.sendInvite().Body, false)
		f.Add(r.sendInvite(set("join", "content", "membership")).Body, false)
		f.Add(r.sendInvite(thirdParty, set(json.RawMessage("1.5"), "unsigned", "age")).Body, false)
	}
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		r := newRoom(v)
		f.Add(r.RequestV1(r.signedInvite(), serverB).Body, true)
		f.Add([]byte(r.signedInvite(set("m.room.name", "type"))), true)
	}
	for _, body := range []string{``, `{}`, `[]`, `null`, `{"event":{},"room_version":"11"}`, `{"event":{},"room_version":"11","invite_room_state":[1,{}]}`, `{"unsigned":{"invite_room_state":"x"}}`, "\xff", `{"a":1,"\u0061":2}`} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, v1 bool) {
		checkReceive(t, letter{From: invitetest.Signer(serverA), To: serverB, V1: v1, RoomID: "!r:a.example", EventID: "$x", Body: body})
	})
}

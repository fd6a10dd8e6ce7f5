package fedserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

func newBinds(t testing.TB, change ...func(*fedserver.BindsConfig)) (b *fedserver.Binds, got *[]thirdparty.Invite) {
	t.Helper()
	got = new([]thirdparty.Invite)
	c := fedserver.BindsConfig{
		Signer: ours(serverB),
		HandleInvite: func(_ context.Context, inv thirdparty.Invite) error {
			*got = append(*got, inv)
			return nil
		},
	}
	for _, f := range change {
		f(&c)
	}
	b, err := fedserver.NewBinds(c)
	if err != nil {
		t.Fatal(err)
	}
	return b, got
}

func emptyBinds(t testing.TB) http.Handler {
	b, _ := newBinds(t)
	return b
}

// bindOf is a notification for a user with n invites.
func bindOf(userID string, n int) object {
	invites := make([]any, n)
	for i := range invites {
		invites[i] = object{
			"medium": "email", "address": "bob@mail.ex", "mxid": userID, "room_id": "!r:a.ex", "sender": alice,
			"signed": object{"mxid": userID, "token": fmt.Sprint("t", i), "signatures": object{}},
		}
	}
	return object{"medium": "email", "address": "bob@mail.ex", "mxid": userID, "invites": invites}
}

func onbind(t testing.TB, method string, body any) *http.Request {
	t.Helper()
	return letter{method, target("v1", "3pid", "onbind"), "", "", encode(body)}.request(t)
}

func TestScenario71_OnbindByPUTAndPOST(t *testing.T) {
	for _, method := range []string{"PUT", "POST"} {
		b, got := newBinds(t)
		wantOK(t, answer(b, onbind(t, method, bindOf(bob, 2))), `{}`)
		if len(*got) != 2 || (*got)[1].UserID != bob || (*got)[1].Sender != alice {
			t.Errorf("%s: got %+v", method, *got)
		}
	}
}

func TestOnbindRefuses(t *testing.T) {
	edit := func(change func(o object)) object {
		o := bindOf(bob, 2)
		change(o)
		return o
	}
	second := func(o object) object { return o["invites"].([]any)[1].(object) }
	for _, c := range []struct {
		name   string
		body   any
		change func(*fedserver.BindsConfig)
		status int
		code   fedinvite.Code
	}{
		{"a user of another server", bindOf(carol, 1), nil, 400, "M_INVALID_PARAM"},
		{"no user ID", bindOf("bob", 1), nil, 400, "M_BAD_JSON"},
		{"an invite for another user", edit(func(o object) { second(o)["mxid"] = "@ben:b.ex" }), nil, 400, "M_BAD_JSON"},
		{"an invite signed for another user", edit(func(o object) { second(o)["signed"].(object)["mxid"] = "@ben:b.ex" }), nil, 400, "M_BAD_JSON"},
		{"51 invites", bindOf(bob, 51), nil, 400, "M_BAD_JSON"},
		{"no mxid", edit(func(o object) { delete(o, "mxid") }), nil, 400, "M_MISSING_PARAM"},
		{"a body of more than MaxBody", bindOf(bob, 1), func(c *fedserver.BindsConfig) { c.MaxBody = 100 }, 413, "M_TOO_LARGE"},
		{"Admit refuses", bindOf(bob, 1), func(c *fedserver.BindsConfig) {
			c.Admit = func(_ context.Context, remote netip.AddrPort, b thirdparty.Bind) error {
				if remote.String() != "192.0.2.1:1234" || b.UserID != bob {
					t.Errorf("Admit got %v, %+v", remote, b)
				}
				return fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly")
			}
		}, 429, "M_LIMIT_EXCEEDED"},
		{"Signer fails", bindOf(bob, 1), func(c *fedserver.BindsConfig) {
			c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return nil, errors.New("secret")
			}
		}, 500, "M_UNKNOWN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var changes []func(*fedserver.BindsConfig)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			b, got := newBinds(t, changes...)
			wantRefusal(t, answer(b, onbind(t, "POST", c.body)), c.status, c.code)
			if len(*got) > 0 {
				t.Errorf("handled %+v", *got)
			}
		})
	}
	t.Run("mxid twice", func(t *testing.T) {
		b, _ := newBinds(t)
		body := []byte(`{"mxid":"@bob:b.ex","mxid":"@bob:b.ex"}`)
		wantRefusal(t, answer(b, letter{"PUT", target("v1", "3pid", "onbind"), "", "", body}.request(t)), 400, "M_BAD_JSON")
	})
	t.Run("Handle, an invite for another user", func(t *testing.T) {
		b, got := newBinds(t)
		err := b.Handle(t.Context(), thirdparty.Bind{UserID: bob, Invites: []thirdparty.Invite{{UserID: bob}, {UserID: "@ben:b.ex"}}})
		if !errors.Is(err, fedinvite.ErrMismatch) || len(*got) > 0 {
			t.Errorf("got %v, handled %d", err, len(*got))
		}
	})
	t.Run("Handle, a user of another server", func(t *testing.T) {
		b, _ := newBinds(t)
		if err := b.Handle(t.Context(), thirdparty.Bind{UserID: carol}); !errors.Is(err, fedinvite.ErrNotLocal) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOnbindTriesAllInvites(t *testing.T) {
	for _, c := range []struct {
		first, last error
		status      int
		code        fedinvite.Code
	}{
		{errors.New("secret"), nil, 500, "M_UNKNOWN"},
		{nil, fedinvite.ErrMismatch, 500, "M_UNKNOWN"},
		{fedinvite.Refuse(fedinvite.CodeForbidden, "no"), errors.New("secret"), 403, "M_FORBIDDEN"},
	} {
		n := 0
		var told error
		b, _ := newBinds(t, func(config *fedserver.BindsConfig) {
			config.HandleInvite = func(context.Context, thirdparty.Invite) error {
				n++
				return map[int]error{1: c.first, 3: c.last}[n]
			}
			config.Done = func(_ *http.Request, _ fedserver.Request, err error) { told = err }
		})
		w := answer(b, onbind(t, "PUT", bindOf(bob, 3)))
		wantRefusal(t, w, c.status, c.code)
		if n != 3 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("tried %d, told %s", n, w.Body)
		}
		for _, err := range []error{c.first, c.last} {
			if err != nil && !errors.Is(told, err) {
				t.Errorf("Done got %v, want %v in it", told, err)
			}
		}
	}
}

// Anybody can make a notification of invites that were made already.
func TestOnbindHandlesOneInviteOnce(t *testing.T) {
	body := bindOf(bob, 50)
	var want []string
	for i, inv := range body["invites"].([]any) {
		o := inv.(object)
		token := fmt.Sprint("t", i%2)
		o["signed"] = object{"mxid": bob, "token": token, "signatures": object{}, "n": i}
		o["room_id"] = fmt.Sprintf("!%d:a.ex", i/2%2)
		o["sender"] = []string{alice, albert}[i/4%2]
		if i < 8 {
			want = append(want, fmt.Sprint(o["room_id"], o["sender"], token))
		}
	}
	b, got := newBinds(t)
	wantOK(t, answer(b, onbind(t, "PUT", body)), `{}`)
	var handled []string
	for _, inv := range *got {
		var signed struct{ Token string }
		if err := json.Unmarshal(inv.Signed, &signed); err != nil {
			t.Fatal(err)
		}
		handled = append(handled, inv.RoomID+inv.Sender+signed.Token)
	}
	if diff := cmp.Diff(want, handled); diff != "" {
		t.Errorf("handled -want +got\n%s", diff)
	}
	t.Run("what has no token is not the same", func(t *testing.T) {
		b, got := newBinds(t)
		inv := thirdparty.Invite{UserID: bob, RoomID: "!r:a.ex", Sender: alice, Signed: json.RawMessage(`{`)}
		if err := b.Handle(t.Context(), thirdparty.Bind{UserID: bob, Invites: []thirdparty.Invite{inv, inv}}); err != nil || len(*got) != 2 {
			t.Errorf("got %v, handled %d", err, len(*got))
		}
	})
}

// One slow server takes neither more than Timeout, nor the time of the others.
func TestAllInvitesOfANotificationTogetherHaveTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		slow    func(i int) bool
		took    time.Duration
		expired int
	}{
		{"all are slow", func(int) bool { return true }, 30 * time.Second, 50},
		{"the first is slow", func(i int) bool { return i == 0 }, 30 * time.Second / 50, 1},
		{"the last is slow", func(i int) bool { return i == 49 }, 30 * time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, expired := 0, 0
				b, _ := newBinds(t, func(config *fedserver.BindsConfig) {
					config.HandleInvite = func(ctx context.Context, _ thirdparty.Invite) error {
						if ctx.Err() != nil {
							t.Errorf("no time for invite %d", n)
						}
						slow := c.slow(n)
						if n++; !slow {
							return nil
						}
						<-ctx.Done()
						expired++
						return ctx.Err()
					}
				})
				began := time.Now()
				wantRefusal(t, answer(b, onbind(t, "POST", bindOf(bob, 50))), 500, "M_UNKNOWN")
				if took := time.Since(began); n != 50 || expired != c.expired || took != c.took {
					t.Errorf("called %d times, %d of them too long, %v; want 50, %d, %v", n, expired, took, c.expired, c.took)
				}
			})
		})
	}
	t.Run("Timeout is over and the next is called", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			b, _ := newBinds(t, func(config *fedserver.BindsConfig) {
				config.Timeout = time.Second
				config.HandleInvite = func(ctx context.Context, _ thirdparty.Invite) error {
					if n++; n == 1 {
						<-time.After(time.Minute) // it does not heed its context
						return nil
					}
					return ctx.Err()
				}
			})
			if err := b.Handle(t.Context(), thirdparty.Bind{UserID: bob, Invites: []thirdparty.Invite{{UserID: bob, Sender: alice}, {UserID: bob}}}); !errors.Is(err, context.DeadlineExceeded) || n != 2 {
				t.Errorf("called %d times, got %v", n, err)
			}
		})
	})
}

package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// Whatever is built has room for the signatures that are to come: the event that comes of
// it is one that every server accepts, and one that would not be is refused before anybody
// is asked.
func TestTheLargestEventHasRoomForAllSignatures(t *testing.T) {
	for name, c := range map[string]struct {
		invitee  string
		policy   fedinvite.ServerName
		takeBack bool
		bobKey   string // of the invited server
		want     int    // bytes
	}{
		"nobody else signs":           {"@b:a.ex", "", false, "", 65522},
		"our second server":           {"@b:aa.ex", "", false, "", 65536},
		"the policy server":           {"@b:a.ex", "ps.ex", false, "", 65536},
		"a policy server of ours":     {"@b:a.ex", "a.ex", false, "", 65536},
		"both":                        {"@b:aa.ex", "ps.ex", false, "", 65536},
		"both are one":                {"@b:aa.ex", "aa.ex", false, "", 65536},
		"the longest key ID":          {bob, "", false, "ed25519:" + strings.Repeat("k", 247), 65536},
		"it and a policy server":      {bob, "ps.ex", false, "ed25519:" + strings.Repeat("k", 247), 65536},
		"taking back":                 {bob, "", true, "", 65522},
		"taking back, policy server":  {bob, "ps.ex", true, "", 65536},
		"the policy server's own key": {bob, "b.ex", false, "ed25519:" + strings.Repeat("k", 247), 65536},
	} {
		t.Run(name, func(t *testing.T) {
			make := func(filling int) (*stage, *fedinvite.Event, error) {
				s := newStage(t, fedinvite.RoomV11)
				answers := s.countersigns("b.ex", c.bobKey)
				if c.policy != "" {
					s.usePolicyServer(c.policy, s.signs(c.policy))
				}
				signs := s.servers["b.ex"]
				s.servers["b.ex"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "/_matrix/policy/") {
						signs.ServeHTTP(w, r)
						return
					}
					answers(w, r)
				})
				i := s.invitation(c.invitee)
				i.Content = long(filling)
				if c.takeBack {
					s.set("m.room.member", c.invitee, `{"membership":"invite"}`)
					e, err := s.inviter().TakeBack(t.Context(), i)
					return s, e, err
				}
				invited, err := s.inviter().Invite(t.Context(), i)
				if err != nil {
					return s, nil, err
				}
				return s, invited.Event, nil
			}
			_, small, err := make(1000)
			if err != nil {
				t.Fatal(err)
			}
			fits := c.want - len(small.AppendJSON(nil)) + 1000
			_, e, err := make(fits)
			if err != nil {
				t.Fatal(err)
			}
			if size := len(e.AppendJSON(nil)); size != c.want {
				t.Errorf("the test's event has %d bytes", size)
			}
			if _, err := fedinvite.ParseEvent(e.AppendJSON(nil), e.Rules()); err != nil {
				t.Error(err)
			}
			s, e, err := make(fits + 1)
			var failed *fedclient.InviteError
			if e != nil || !errors.As(err, &failed) || failed.Event != nil || failed.MaybeSeen || !errors.Is(err, fedinvite.ErrBadJSON) || s.did("connecting")+s.did("policy") > 0 {
				t.Errorf("got %v, did %q", err, s.record)
			}
			told(t, err, 400, "M_BAD_JSON")
		})
	}
}

// countersigns is a server that signs invites with a key of this ID.
func (s *stage) countersigns(name fedinvite.ServerName, key string) http.HandlerFunc {
	if key == "" {
		return s.servers[string(name)].ServeHTTP
	}
	signer := invitetest.SignerWithKey(name, fedinvite.KeyID(key))
	s.keys.Add(signer)
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return signer, nil },
		Keys:   s.keys,
		Credentials: func(*http.Request) (fedinvite.Credentials, error) {
			return fedinvite.Credentials{
				Origin: "a.ex", Destination: name, Verify: func(context.Context, []byte) error { return nil },
			}, nil
		},
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return receiver.ServeHTTP
}

// A renaming Signer has a longer key ID once it has signed.
type renamingSigner struct {
	fedinvite.Signer
	signed bool
}

func (r *renamingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	r.signed = true
	return r.Signer.Sign(ctx, message)
}

func (r *renamingSigner) KeyID() fedinvite.KeyID {
	if r.signed {
		return "ed25519:" + fedinvite.KeyID(strings.Repeat("k", 200))
	}
	return "ed25519:1"
}

func TestASecondSignatureThatDoesNotFitIsAnError(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	second := &renamingSigner{Signer: invitetest.Signer("aa.ex")}
	s.config.Signer = keyringOf(s.signer, second)
	i := s.invitation("@b:aa.ex")
	i.Content = long(1000)
	invited, err := s.inviter().Invite(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	i.Content, second.signed = long(1000+65536-len(invited.Event.AppendJSON(nil))+100), false
	_, err = s.inviter().Invite(t.Context(), i)
	told(t, err, 500, "M_UNKNOWN")
}

// The body of a request may be nested 128 deep, and the events in a transaction are two
// deeper than they are.
func TestTheDeepestContent(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
		for _, c := range []struct {
			levels int
			fits   bool
		}{{125, true}, {126, false}, {127, false}, {128, false}, {129, false}} {
			for _, invitee := range []string{bob, "@b:a.ex"} {
				s := newStage(t, version)
				s.usePolicyServer("ps.ex", s.signs("ps.ex"))
				i := s.invitation(invitee)
				i.Content = nested(c.levels)
				invited, err := s.inviter().Invite(t.Context(), i)
				if !c.fits {
					var failed *fedclient.InviteError
					if !errors.As(err, &failed) || failed.Event != nil || failed.MaybeSeen || !errors.Is(err, fedinvite.ErrTooDeep) || s.did("connecting")+s.did("policy") > 0 {
						t.Errorf("%d levels: got %v, did %q", c.levels, err, s.record)
					}
					told(t, err, 400, "M_BAD_JSON")
					continue
				}
				if err != nil {
					t.Errorf("%d levels: %v", c.levels, err)
					continue
				}
				sent := false
				client := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
					sent = true
					return response(200, map[string]string{"Content-Type": "application/json"}, `{"pdus":{}}`), nil
				}))
				if _, err = client.SendTransaction(t.Context(), fedclient.Transaction{
					ID: "1", Destination: "c.ex", Events: []*fedinvite.Event{invited.Event}, Time: now, Signer: s.signer,
				}); err != nil || !sent {
					t.Error(err)
				}
			}
		}
	}
}

// What would make receivers refuse the whole request is left out.
func TestRoomStateThatIsNestedTooDeeply(t *testing.T) {
	for _, c := range []struct {
		version fedinvite.RoomVersion
		v1      bool
		levels  int // of the content
		shown   bool
	}{
		{fedinvite.RoomV11, false, 124, true},
		{fedinvite.RoomV11, false, 125, true},
		{fedinvite.RoomV11, false, 126, false},
		{fedinvite.RoomV11, false, 127, false},
		// The body of the v1 endpoint is one deeper.
		{fedinvite.RoomV1, true, 124, true},
		{fedinvite.RoomV1, true, 125, false},
		{fedinvite.RoomV2, false, 125, false},
	} {
		s := newStage(t, c.version)
		if c.v1 {
			s.forgetsV2("b.ex")
		}
		s.set("m.room.topic", "", string(nested(c.levels)))
		s.set("m.room.name", "", `{"name":"`+strings.Repeat(`[{\"\\`, 200)+`"}`) // none in earnest
		invited, err := s.invite(bob)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if shows := slices.ContainsFunc(invited.RoomState, func(entry json.RawMessage) bool {
			return strings.Contains(string(entry), `"m.room.topic"`)
		}); shows != c.shown || invited.V1 != c.v1 {
			t.Errorf("%+v: %d entries", c, len(invited.RoomState))
		}
		if want := 7; !c.shown && len(invited.RoomState) != want {
			t.Errorf("%+v: %d entries, want %d", c, len(invited.RoomState), want)
		}
	}
}

// Without the create event there is no invite to another server.
func TestACreateEventThatIsNestedTooDeeply(t *testing.T) {
	for levels, want := range map[int]error{124: nil, 125: fedclient.ErrSnapshot} { // in {"creator":…,"x":…}
		for _, invitee := range []string{bob, "@b:a.ex"} {
			s := newStage(t, fedinvite.RoomV11)
			s.usePolicyServer("ps.ex", s.signs("ps.ex"))
			s.set("m.room.create", "", `{"room_version":"11","x":`+string(nested(levels))+`}`)
			_, err := s.invite(invitee)
			if invitee == bob && want != nil {
				var failed *fedclient.InviteError
				if !errors.Is(err, want) || !errors.As(err, &failed) || failed.Event != nil || s.did("connecting") > 0 {
					t.Errorf("%d levels: got %v, did %q", levels, err, s.record)
				}
				told(t, err, 500, "M_UNKNOWN")
			} else if err != nil {
				t.Errorf("%d levels for %s: %v", levels, invitee, err)
			}
		}
	}
}

// forgetsV2 makes a server of old of one.
func (s *stage) forgetsV2(name string) {
	knows := s.servers[name]
	s.servers[name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/") {
			answerJSON(404, unrecognized)(w, r)
			return
		}
		knows.ServeHTTP(w, r)
	})
}

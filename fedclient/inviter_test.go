package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// typesOf returns type and state key, if there is one, of the events with these IDs.
func (s *stage) typesOf(ids []string) []string {
	types := []string{}
	for _, id := range ids {
		i := slices.IndexFunc(s.snapshot.State, func(e *fedinvite.Event) bool { return e.ID() == id })
		if i < 0 {
			types = append(types, "?")
			continue
		}
		key, _ := s.snapshot.State[i].StateKey()
		types = append(types, strings.TrimSpace(strings.TrimPrefix(s.snapshot.State[i].Type(), "m.room.")+" "+key))
	}
	slices.Sort(types)
	return types
}

func TestScenario43InvitesOfEveryRoomVersion(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			s := newStage(t, version)
			s.set("m.room.member", bob, `{"membership":"leave"}`)
			i := s.invitation(bob)
			i.Content = json.RawMessage(`{"reason":"<&>","is_direct":true,"displayname":"Bob","x":{"third_party_invite":1},"membership":"join",` +
				`"join_authorised_via_users_server":"@c:c.ex","third_party_invite":{"signed":{}}}`)
			invited, err := s.inviter().Invite(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			e := invited.Event
			if err := e.Verify(t.Context(), s.keys, "a.ex", "b.ex"); err != nil {
				t.Error(err)
			}
			want := []string{"create", "join_rules", "member @a:a.ex", "member @b:b.ex", "power_levels"}
			if version == fedinvite.RoomV12 {
				want = want[1:]
			}
			if diff := cmp.Diff(want, s.typesOf(e.AuthEventIDs())); diff != "" {
				t.Errorf("auth_events: %s", diff)
			}
			// Reference pairs in versions 1 and 2.
			var raw struct {
				Auth []json.RawMessage `json:"auth_events"`
			}
			if err := json.Unmarshal(e.AppendJSON(nil), &raw); err != nil {
				t.Fatal(err)
			}
			pairs := version == fedinvite.RoomV1 || version == fedinvite.RoomV2
			for _, ref := range raw.Auth {
				if strings.HasPrefix(string(ref), `["$`) != pairs || strings.Contains(string(ref), `"sha256":"`) != pairs {
					t.Errorf("reference %s", ref)
				}
			}
			if diff := cmp.Diff([]string{s.snapshot.Extremities[0].ID, s.snapshot.Extremities[1].ID}, e.PrevEventIDs()); diff != "" {
				t.Error(diff)
			}
			if got, want := string(e.Content()), `{"displayname":"Bob","is_direct":true,"membership":"invite","reason":"<&>","x":{"third_party_invite":1}}`; got != want {
				t.Errorf("content %s", got)
			}
			if e.Depth() != 18 || !e.OriginServerTS().Equal(now) || e.Sender() != alice || e.RoomID() != s.roomID {
				t.Errorf("got %s", e.AppendJSON(nil))
			}
			if len(s.received) != 1 || s.received[0].Event.ID() != e.ID() || len(s.received[0].RoomState.Events) != 8 || len(s.received[0].RoomState.Warnings) != 0 {
				t.Errorf("received %+v", s.received)
			}
			if invited.Local || invited.V1 || len(invited.RoomState) != 8 {
				t.Errorf("got %+v", invited)
			}
		})
	}
}

func TestScenario44TheLimitsOfReferencesAndDepth(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		s.snapshot.Extremities = s.extremities(30)
		for depth, want := range map[int64]int64{
			0: 1, s.rules.MaxDepth - 1: s.rules.MaxDepth, s.rules.MaxDepth: s.rules.MaxDepth, math.MaxInt64: s.rules.MaxDepth,
		} {
			s.snapshot.Depth = depth
			invited, err := s.invite(bob)
			if err != nil {
				t.Fatal(version, err)
			}
			e := invited.Event
			if e.Depth() != want || len(e.AuthEventIDs()) > 10 || len(e.PrevEventIDs()) != 20 || e.PrevEventIDs()[0] != s.snapshot.Extremities[0].ID {
				t.Errorf("version %s, depth %d: %s", version, depth, e.AppendJSON(nil))
			}
		}
	}
}

func TestTheTimeOfAnInvitation(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	i := s.invitation(bob)
	i.Time = time.UnixMilli(1234)
	invited, err := s.inviter().Invite(t.Context(), i)
	if err != nil || invited.Event.OriginServerTS().UnixMilli() != 1234 {
		t.Errorf("got %v, %v", invited, err)
	}
}

// The state that is wanted, without duplicates and the create event among it.
func TestWhatASnapshotIsAskedFor(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	var want []eventauth.StateKey
	room := s.config.Room
	s.config.Room = roomFunc(func(ctx context.Context, id string, w []eventauth.StateKey) (*fedclient.Snapshot, error) {
		want = slices.Clone(w)
		return room.Snapshot(ctx, id, w)
	})
	if _, err := s.invite(bob); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range want {
		got = append(got, strings.TrimSpace(k.Type+" "+k.Key))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{
		"m.room.avatar", "m.room.canonical_alias", "m.room.create", "m.room.encryption", "m.room.join_rules", "m.room.member @a:a.ex",
		"m.room.member @b:b.ex", "m.room.name", "m.room.policy", "m.room.power_levels", "m.room.topic",
	}, got); diff != "" {
		t.Error(diff)
	}
}

type roomFunc func(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error)

func (f roomFunc) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	return f(ctx, roomID, want)
}

func TestInvitationsThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(i *fedclient.Invitation)
		want   error
		status int
		code   fedinvite.Code
	}{
		"a sender that is no user ID":    {func(i *fedclient.Invitation) { i.Sender = "a" }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"an invitee that is no user ID":  {func(i *fedclient.Invitation) { i.Invitee = "@b:b ex" }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"no invitee":                     {func(i *fedclient.Invitation) { i.Invitee = "" }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"a room alias":                   {func(i *fedclient.Invitation) { i.RoomID = "#r:a.ex" }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"a room ID of 256 bytes":         {func(i *fedclient.Invitation) { i.RoomID = "!" + strings.Repeat("r", 255) }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"a room ID that is not UTF-8":    {func(i *fedclient.Invitation) { i.RoomID = "!\xff:a.ex" }, fedinvite.ErrIdentifier, 400, "M_INVALID_PARAM"},
		"oneself":                        {func(i *fedclient.Invitation) { i.Invitee = i.Sender }, fedinvite.ErrForbidden, 403, "M_FORBIDDEN"},
		"content that is no JSON":        {func(i *fedclient.Invitation) { i.Content = json.RawMessage("{") }, fedinvite.ErrNotJSON, 400, "M_BAD_JSON"},
		"content that is null":           {func(i *fedclient.Invitation) { i.Content = json.RawMessage("null") }, fedinvite.ErrBadJSON, 400, "M_BAD_JSON"},
		"content with a fraction":        {func(i *fedclient.Invitation) { i.Content = json.RawMessage(`{"secret":1.5}`) }, fedinvite.ErrBadNumber, 400, "M_BAD_JSON"},
		"content with a duplicate key":   {func(i *fedclient.Invitation) { i.Content = json.RawMessage(`{"a":1,"\u0061":1}`) }, fedinvite.ErrDuplicateKey, 400, "M_BAD_JSON"},
		"content too deep":               {func(i *fedclient.Invitation) { i.Content = nested(128) }, fedinvite.ErrTooDeep, 400, "M_BAD_JSON"},
		"content too long":               {func(i *fedclient.Invitation) { i.Content = long(64 << 10) }, fedinvite.ErrBadJSON, 400, "M_BAD_JSON"},
		"a third-party invite of a list": {func(i *fedclient.Invitation) { i.ThirdParty = json.RawMessage("[]") }, fedinvite.ErrBadJSON, 400, "M_BAD_JSON"},
		"a third-party invite of null":   {func(i *fedclient.Invitation) { i.ThirdParty = json.RawMessage("null") }, fedinvite.ErrBadJSON, 400, "M_BAD_JSON"},
		"a foreign sender":               {func(i *fedclient.Invitation) { i.Sender = "@c:c.ex" }, fedinvite.ErrNotLocal, 500, "M_UNKNOWN"},
		"a time before 1970":             {func(i *fedclient.Invitation) { i.Time = time.UnixMilli(-1) }, nil, 500, "M_UNKNOWN"},
		"a foreign sender and a third-party invite for a foreigner": {func(i *fedclient.Invitation) {
			i.Sender, i.ThirdParty = "@c:c.ex", json.RawMessage(`{}`)
		}, fedinvite.ErrNotLocal, 500, "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11)
			i := s.invitation(bob)
			c.change(&i)
			_, err := s.inviter().Invite(t.Context(), i)
			s.refused(err, c.want)
			if e := told(t, err, c.status, c.code); strings.Contains(e.Message, "secret") || fedclient.Retryable(err) {
				t.Errorf("told %v", e)
			}
			if looked := s.did("snapshot") > 0; looked != strings.HasPrefix(name, "content too") {
				t.Errorf("did %q", s.record)
			}
		})
	}
}

func nested(depth int) json.RawMessage {
	return json.RawMessage(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
}

func long(n int) json.RawMessage {
	return json.RawMessage(`{"reason":"` + strings.Repeat("x", n-13) + `"}`)
}

func TestSnapshotsThatCannotBe(t *testing.T) {
	other := newStage(t, fedinvite.RoomV11)
	other.roomID = "!other:a.ex"
	elsewhere := other.event("m.room.name", "", alice, `{"name":"n"}`)
	unknown := other.event("m.room.unknown", "", alice, `{}`)
	for name, c := range map[string]struct {
		version fedinvite.RoomVersion
		change  func(s *stage)
	}{
		"no extremities":                   {"11", func(s *stage) { s.snapshot.Extremities = nil }},
		"an extremity without an ID":       {"11", func(s *stage) { s.snapshot.Extremities[1].ID = "" }},
		"an extremity with a room's ID":    {"11", func(s *stage) { s.snapshot.Extremities[1].ID = "!r:a.ex" }},
		"an extremity with a long ID":      {"11", func(s *stage) { s.snapshot.Extremities[1].ID = "$" + strings.Repeat("x", 255) }},
		"an extremity that is not UTF-8":   {"11", func(s *stage) { s.snapshot.Extremities[1].ID = "$\xff" }},
		"an extremity twice":               {"11", func(s *stage) { s.snapshot.Extremities[1] = s.snapshot.Extremities[0] }},
		"an extremity without a hash":      {"1", func(s *stage) { s.snapshot.Extremities[1].SHA256 = nil }},
		"an extremity with half a hash":    {"2", func(s *stage) { s.snapshot.Extremities[0].SHA256 = make([]byte, 16) }},
		"a negative depth":                 {"11", func(s *stage) { s.snapshot.Depth = -1 }},
		"no create event":                  {"11", func(s *stage) { s.set("m.room.create", "", "") }},
		"no create event in version 12":    {"12", func(s *stage) { s.set("m.room.create", "", "") }},
		"no state":                         {"12", func(s *stage) { s.snapshot.State = nil }},
		"an event of another room":         {"11", func(s *stage) { s.snapshot.State[0] = elsewhere }},
		"one that was not asked for, too":  {"11", func(s *stage) { s.snapshot.State[0] = unknown }},
		"an event of another room version": {"10", func(s *stage) { s.snapshot.State[0] = other.event("m.room.name", "", alice, `{}`) }},
		"an event of other rules": {"11", func(s *stage) {
			rules := s.rules
			s.rules.EnforceKeyValidity = false
			s.set("m.room.name", "", `{"name":"n"}`)
			s.rules = rules
		}},
		"a create event of another room": {"12", func(s *stage) {
			s.set("m.room.create", "", `{"room_version":"12","x":1}`)
		}},
		"two names": {"11", func(s *stage) {
			s.snapshot.State = append(s.snapshot.State, s.event("m.room.name", "", alice, `{"name":"m"}`))
		}},
		"two of one sender's memberships": {"11", func(s *stage) {
			s.snapshot.State = append(s.snapshot.State, s.event("m.room.member", alice, alice, `{"membership":"leave"}`))
		}},
		"the same event twice": {"11", func(s *stage) {
			s.snapshot.State = append(s.snapshot.State, s.snapshot.State[0])
		}},
		"a message": {"11", func(s *stage) { s.snapshot.State[0] = s.message() }},
		"a membership that there is not": {"11", func(s *stage) {
			s.set("m.room.member", bob, `{"membership":"asleep"}`)
		}},
		"a sender's membership that is no string": {"11", func(s *stage) {
			s.set("m.room.member", alice, `{"membership":["join"]}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.version)
			c.change(s)
			_, err := s.invite(bob)
			s.refused(err, fedclient.ErrSnapshot)
			told(t, err, 500, "M_UNKNOWN")
			if fedclient.Retryable(err) {
				t.Error("retryable")
			}
			i := s.invitation(bob)
			if _, err = s.inviter().TakeBack(t.Context(), i); err == nil {
				t.Error("taken back")
			}
			s.refused(err, nil)
		})
	}

	s := newStage(t, fedinvite.RoomV11)
	s.config.Room = roomFunc(func(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error) { return nil, nil })
	_, err := s.invite(bob)
	s.refused(err, fedclient.ErrSnapshot)
}

// message is an event of the room that is no state.
func (s *stage) message() *fedinvite.Event {
	s.t.Helper()
	raw := invitetest.Change(s.event("m.room.name", "", alice, `{}`).AppendJSON(nil), invitetest.Drop("state_key"))
	e, err := fedinvite.ParseStored(raw, s.rules)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// Without a third-party invite, the invitee's server does not sign for a sender elsewhere.
func TestAForeignSenderOfAnOrdinaryInvite(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	s.set("m.room.power_levels", "", `{"users":{"@c:c.ex":100}}`)
	s.snapshot.State = append(s.snapshot.State, s.event("m.room.member", "@c:c.ex", "@c:c.ex", `{"membership":"join"}`))
	i := s.invitation("@b:a.ex")
	i.Sender = "@c:c.ex"
	_, err := s.inviter().Invite(t.Context(), i)
	s.refused(err, fedinvite.ErrNotLocal)
}

// What was not asked for, and nil, do no harm.
func TestSnapshotsWithMoreThanWasWanted(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	more := []*fedinvite.Event{nil}
	for i := range 50 {
		more = append(more, s.event("m.room.member", fmt.Sprintf("@u%d:c.ex", i), alice, `{"membership":"leave"}`))
	}
	more = append(more, s.event("m.room.name", "x", alice, `{"name":"no"}`), s.event("org.example", "", alice, `{}`), s.event("org.example", "", alice, `{"a":1}`))
	s.snapshot.State = append(more, s.snapshot.State...)
	invited, err := s.invite(bob)
	if err != nil || len(invited.RoomState) != 8 {
		t.Fatalf("got %v, %v", invited, err)
	}
	for _, entry := range invited.RoomState {
		if strings.Contains(string(entry), "c.ex") || strings.Contains(string(entry), `"no"`) {
			t.Errorf("shown %s", entry)
		}
	}
}

func TestHooksThatFail(t *testing.T) {
	secret := errors.New("secret")
	// An error of ours in what a hook returns says nothing of this invite.
	for _, err := range []error{secret, fedclient.ErrUnreachable, fedinvite.ErrBadJSON, fedinvite.ErrForbidden,
		&fedclient.RemoteError{Server: "db.ex", Status: 403, Code: "M_FORBIDDEN"}, &fedclient.PolicyError{Server: "x.ex", Err: secret}} {
		for name, change := range map[string]func(s *stage){
			"Room": func(s *stage) {
				s.config.Room = roomFunc(func(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error) { return nil, err })
			},
			"Signer": func(s *stage) {
				s.config.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return nil, err }
			},
			"Rules": func(s *stage) {
				s.config.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.Rules{}, err }
			},
			"a Signer that cannot sign": func(s *stage) {
				s.config.Signer = func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
					if server != "a.ex" {
						return nil, fedinvite.ErrNotLocal
					}
					return failingSigner{s.signer, err}, nil
				}
			},
		} {
			s := newStage(t, fedinvite.RoomV11)
			change(s)
			_, got := s.invite(bob)
			s.refused(got, err)
			var public *fedinvite.Error
			if e := told(t, got, 500, "M_UNKNOWN"); strings.Contains(e.Message, "secret") || fedclient.Retryable(got) || errors.As(got, &public) {
				t.Errorf("%s: told %v of %v", name, e, got)
			}
		}
	}
}

type failingSigner struct {
	fedinvite.Signer
	err error
}

func (s failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, s.err }

// A Signer that fails only when it comes to the request.
type weakSigner struct {
	fedinvite.Signer
	err error
}

func (s weakSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if strings.Contains(string(message), `"uri"`) {
		return nil, s.err
	}
	return s.Signer.Sign(ctx, message)
}

// What our own signer says of the request is no answer of a server: it starts no fallback,
// is no refusal of a policy server and no reason to try again.
func TestASignerThatFailsForTheRequest(t *testing.T) {
	refusal := &fedclient.RemoteError{Server: "hsm.ex", Status: 404, Code: "M_UNRECOGNIZED"}
	for _, policy := range []bool{false, true} {
		s := newStage(t, fedinvite.RoomV1)
		if policy {
			s.usePolicyServer("ps.ex", s.signs("ps.ex"))
		}
		s.config.Signer = func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
			if server != "a.ex" {
				return nil, fedinvite.ErrNotLocal
			}
			return weakSigner{s.signer, refusal}, nil
		}
		_, err := s.invite(bob)
		var failed *fedclient.InviteError
		var asked *fedclient.PolicyError
		if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen || s.did("connecting") > 0 || errors.As(err, &asked) {
			t.Errorf("got %v, did %q", err, s.record)
		}
		told(t, err, 500, "M_UNKNOWN")
	}
}

func TestHooksThatReturnTheWrongThing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *stage)
		want   error
	}{
		"no signer": {func(s *stage) {
			s.config.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return nil, nil }
		}, nil},
		"a signer of another server": {func(s *stage) {
			s.config.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return &notedSigner{invitetest.Signer("c.ex"), s}, nil
			}
		}, nil},
		"a signer whose key has no proper ID": {func(s *stage) {
			s.config.Signer = func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
				if server != "a.ex" {
					return nil, fedinvite.ErrNotLocal
				}
				return misnamedSigner{s.signer}, nil
			}
		}, fedinvite.ErrIdentifier},
		"zero Rules": {func(s *stage) {
			s.config.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.Rules{}, nil }
		}, fedinvite.ErrRoomVersion},
		"Rules of another version": {func(s *stage) {
			s.config.Rules = func(fedinvite.RoomVersion) (fedinvite.Rules, error) { return fedinvite.RoomV10.Rules() }
		}, fedinvite.ErrRoomVersion},
		"Rules without a depth": {func(s *stage) { s.rules.MaxDepth = 0 }, fedinvite.ErrRoomVersion},
		"an unknown version":    {func(s *stage) { s.snapshot.Version, s.config.Rules = "99", nil }, fedinvite.ErrRoomVersion},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11)
			c.change(s)
			_, err := s.invite(bob)
			s.refused(err, c.want)
			told(t, err, 500, "M_UNKNOWN")
			if _, taken := s.inviter().TakeBack(t.Context(), s.invitation(bob)); taken == nil {
				t.Error("taken back")
			}
		})
	}
}

type misnamedSigner struct{ fedinvite.Signer }

func (misnamedSigner) KeyID() fedinvite.KeyID { return "1" }

func TestARefusalOfTheRoomIsWhatTheClientIsTold(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	i := s.invitation(bob)
	i.RoomID = "!unknown:a.ex"
	_, err := s.inviter().Invite(t.Context(), i)
	s.refused(err, nil)
	if e := told(t, err, 403, "M_FORBIDDEN"); e.Message != "no such room" {
		t.Errorf("told %v", e)
	}
}

// Before anything is signed, the rules of the room have to allow the invite.
func TestInvitesThatTheRoomDoesNotAllow(t *testing.T) {
	for name, change := range map[string]func(s *stage){
		"a sender who is not there": func(s *stage) { s.set("m.room.member", alice, "") },
		"a sender who has left":     func(s *stage) { s.set("m.room.member", alice, `{"membership":"leave"}`) },
		"a sender without power": func(s *stage) {
			s.set("m.room.power_levels", "", `{"users":{"@a:a.ex":49},"invite":50}`)
		},
		"an invitee who is there":  func(s *stage) { s.set("m.room.member", bob, `{"membership":"join"}`) },
		"an invitee who is banned": func(s *stage) { s.set("m.room.member", bob, `{"membership":"ban"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV6, fedinvite.RoomV11} {
				s := newStage(t, version)
				change(s)
				_, err := s.invite(bob)
				s.refused(err, fedinvite.ErrForbidden)
				var rule *eventauth.RuleError
				if !errors.As(err, &rule) {
					t.Fatalf("got %v", err)
				}
				if e := told(t, err, 403, "M_FORBIDDEN"); e.Message != rule.Reason || e.Message == "" {
					t.Errorf("told %v", e)
				}
			}
		})
	}
}

// "m.federate": whether users on other servers can join this room.
func TestNobodyIsInvitedToARoomThatTheyCannotJoin(t *testing.T) {
	for _, c := range []struct {
		federate, invitee string
		allowed           bool
	}{
		{`false`, bob, false},
		{`false`, "@b:a.ex", true},
		{`false`, "@b:aa.ex", false}, // ours, but not the creator's server
		{`true`, bob, true},
		{`"false"`, bob, true},
		{`null`, bob, true},
	} {
		for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
			s := newStage(t, version)
			s.set("m.room.create", "", `{"creator":"@a:a.ex","m.federate":`+c.federate+`}`)
			_, err := s.invite(c.invitee)
			if c.allowed {
				if err != nil {
					t.Errorf("m.federate %s, %s: %v", c.federate, c.invitee, err)
				}
				continue
			}
			s.refused(err, fedinvite.ErrForbidden)
			told(t, err, 403, "M_FORBIDDEN")
		}
	}
}

func TestRemoteRefusalsOfAnInvite(t *testing.T) {
	for name, c := range map[string]struct {
		answer    http.HandlerFunc
		maybeSeen bool
		retryable bool
		status    int
		code      fedinvite.Code
	}{
		"a refusal":         {answerJSON(403, `{"errcode":"M_INVITE_BLOCKED","error":"no"}`), false, false, 403, "M_INVITE_BLOCKED"},
		"too many requests": {answerJSON(429, `{"errcode":"M_LIMIT_EXCEEDED"}`), false, true, 502, "M_UNKNOWN"},
		"a server error":    {answerJSON(500, `{"errcode":"M_FORBIDDEN"}`), true, true, 502, "M_UNKNOWN"},
		"a redirect":        {answerJSON(307, `{}`), true, false, 502, "M_UNKNOWN"},
		"no content":        {answerJSON(204, ``), true, false, 502, "M_UNKNOWN"},
		"no JSON":           {answerWith(200, "text/html", `<p>`), true, false, 502, "M_UNKNOWN"},
		"no signature":      {answerJSON(200, `{"event":{}}`), true, false, 502, "M_UNKNOWN"},
		"no event":          {answerJSON(200, `{}`), true, false, 502, "M_UNKNOWN"},
		"unknown endpoint":  {answerJSON(404, unrecognized), false, false, 400, "M_UNSUPPORTED_ROOM_VERSION"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11)
			s.servers["b.ex"] = c.answer
			_, err := s.invite(bob)
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if failed.MaybeSeen != c.maybeSeen || fedclient.Retryable(err) != c.retryable || len(failed.RoomState) != 8 {
				t.Errorf("got %+v", failed)
			}
			told(t, err, c.status, c.code)

			// It can be sent again, as it is.
			s.servers["b.ex"] = s.receiver("b.ex")
			reply, err := s.config.Client.SendInvite(t.Context(), fedclient.InviteRequest{
				Event: failed.Event, RoomState: failed.RoomState, Signer: s.signer, Keys: s.keys,
			})
			if err != nil || reply.Event.ID() != failed.Event.ID() {
				t.Error(reply, err)
			}
		})
	}
}

// By the v1 endpoint an answer of the v2 endpoint says nothing.
func TestMaybeSeenAfterAFallback(t *testing.T) {
	for name, c := range map[string]struct {
		v1        http.HandlerFunc
		maybeSeen bool
	}{
		"refused":      {answerJSON(403, `{"errcode":"M_FORBIDDEN"}`), false},
		"broken":       {answerJSON(502, ``), true},
		"a bad answer": {answerJSON(200, `[200]`), true},
	} {
		s := newStage(t, fedinvite.RoomV2)
		s.servers["b.ex"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/") {
				answerJSON(404, unrecognized)(w, r)
				return
			}
			c.v1(w, r)
		})
		_, err := s.invite(bob)
		var failed *fedclient.InviteError
		if !errors.As(err, &failed) || failed.MaybeSeen != c.maybeSeen || s.did("PUT") != 2 {
			t.Errorf("%s: got %#v, did %q", name, err, s.record)
		}
	}
}

// Rules of their own work both ways.
func TestCustomRoomVersions(t *testing.T) {
	t.Run("of version 11", func(t *testing.T) {
		rules := rulesOf(t, fedinvite.RoomV11)
		rules.Version = "org.example.custom"
		rules.EventIDs = fedinvite.EventIDBase64
		rules.MaxDepth = 10
		s := newStageOf(t, rules)
		invited, err := s.invite(bob)
		if err != nil {
			t.Fatal(err)
		}
		if e := invited.Event; e.Rules() != rules || e.Depth() != 10 || len(s.received) != 1 || s.received[0].Event.Rules() != rules {
			t.Errorf("got %+v, received %+v", invited, s.received)
		}

		s.servers["b.ex"] = answerJSON(404, unrecognized)
		if _, err = s.invite(bob); !errors.Is(err, fedclient.ErrOldServer) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of version 2, by the v2 endpoint alone", func(t *testing.T) {
		rules := rulesOf(t, fedinvite.RoomV2)
		rules.Version = "org.example.old"
		s := newStageOf(t, rules)
		invited, err := s.invite(bob)
		if err != nil || invited.V1 {
			t.Fatal(invited, err)
		}
		// The v1 endpoint would take the room for one of version 1.
		s.forgetsV2("b.ex")
		var failed *fedclient.InviteError
		_, err = s.invite(bob)
		if !errors.Is(err, fedclient.ErrOldServer) || !errors.As(err, &failed) || failed.MaybeSeen || len(s.received) != 1 {
			t.Errorf("got %v, received %d", err, len(s.received))
		}
		s.config.Client = newClient(t, tripper(s.roundTrip), func(c *fedclient.Config) { c.FallbackAlways = true })
		if _, err = s.invite(bob); !errors.Is(err, fedclient.ErrOldServer) || len(s.received) != 1 {
			t.Errorf("got %v, received %d", err, len(s.received))
		}
	})
	t.Run("refused by the rules", func(t *testing.T) {
		rules := rulesOf(t, fedinvite.RoomV11)
		rules.Version = "org.example.strings"
		rules.Auth.PowerLevels = fedinvite.PowerLevelStrings
		for _, r := range []fedinvite.Rules{rules, rulesOf(t, fedinvite.RoomV11)} {
			s := newStageOf(t, r)
			s.set("m.room.power_levels", "", `{"users":{"@a:a.ex":"100"},"invite":"50"}`)
			_, err := s.invite(bob)
			if allowed := r.Auth.PowerLevels == fedinvite.PowerLevelStrings; allowed != (err == nil) {
				t.Errorf("version %s: %v", r.Version, err)
			}
		}
	})
}

// What does not fit is left out in a stated order, the create event never.
func TestRoomStateThatDoesNotFit(t *testing.T) {
	s := newStage(t, fedinvite.RoomV12)
	for i, eventType := range []string{"name", "canonical_alias", "avatar", "member", "join_rules", "encryption", "topic"} {
		key := map[string]string{"member": alice}[eventType]
		// Each larger than the one before, so that none fits where that does not.
		s.set("m.room."+eventType, key, `{"join_rule":"invite","membership":"join","x":"`+strings.Repeat("x", 100*i)+`"}`)
	}
	var got strings.Builder
	for size := 1; size > 0; s.config.MaxRoomState = size - 1 {
		invited, err := s.invite(bob)
		if err != nil {
			t.Fatal(err)
		}
		size = 0
		for i, entry := range invited.RoomState {
			e, err := fedinvite.ParseEvent(entry, s.rules)
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				size += len(entry)
				got.WriteByte(' ')
			}
			got.WriteString(strings.TrimPrefix(e.Type(), "m.room."))
		}
		if got.WriteByte('\n'); size > 0 {
			size += len(invited.RoomState[0])
		}
	}
	const golden = `create name canonical_alias avatar member join_rules encryption topic
create name canonical_alias avatar member join_rules encryption
create name canonical_alias avatar member join_rules
create name canonical_alias avatar member
create name canonical_alias avatar
create name canonical_alias
create name
create
`
	if diff := cmp.Diff(golden, got.String()); diff != "" {
		t.Error(diff)
	}
}

// Servers store the room state in the event, which has 64 KiB.
func TestRoomStateFitsIntoAnEventUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct {
		content, topic int
		maxRoomState   int
		entries        int
	}{
		{10, 10, 0, 8},
		{10, 60 << 10, 0, 7},
		{50 << 10, 10 << 10, 0, 7},
		{63<<10 - 300, 10, 0, 1},
		{50 << 10, 10 << 10, 1 << 20, 8},
	} {
		s := newStage(t, fedinvite.RoomV11)
		s.config.MaxRoomState = c.maxRoomState
		s.set("m.room.topic", "", `{"topic":"`+strings.Repeat("x", c.topic)+`"}`)
		i := s.invitation(bob)
		i.Content = long(c.content + 13)
		invited, err := s.inviter().Invite(t.Context(), i)
		if err != nil || len(invited.RoomState) != c.entries {
			t.Errorf("%+v: %d entries, %v", c, len(invited.RoomState), err)
			continue
		}
		size := len(invited.Event.AppendJSON(nil))
		for _, entry := range invited.RoomState {
			size += len(entry)
		}
		if c.maxRoomState == 0 && c.entries > 1 && size > 65536 {
			t.Errorf("%+v: %d bytes", c, size)
		}
	}
}

func TestNewInviterNamesWhatIsMissing(t *testing.T) {
	full := newStage(t, fedinvite.RoomV11).config
	for want, change := range map[string]func(c *fedclient.InviterConfig){
		"Client":       func(c *fedclient.InviterConfig) { c.Client = nil },
		"Keys":         func(c *fedclient.InviterConfig) { c.Keys = nil },
		"Room":         func(c *fedclient.InviterConfig) { c.Room = nil },
		"Signer":       func(c *fedclient.InviterConfig) { c.Signer = nil },
		"MaxRoomState": func(c *fedclient.InviterConfig) { c.MaxRoomState = -1 },
	} {
		c := full
		change(&c)
		if _, err := fedclient.NewInviter(c); err == nil || !strings.Contains(err.Error(), "InviterConfig."+want) {
			t.Errorf("got %v, want the name %s", err, want)
		}
	}
	full.Rules, full.Policy, full.Now = nil, nil, nil
	if _, err := fedclient.NewInviter(full); err != nil {
		t.Error(err)
	}
}

func TestInvitesWithoutAClockAreOfTheTimeOfTheSystem(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	s.config.Now = nil
	before := time.Now().Truncate(time.Millisecond)
	i := s.invitation(bob)
	i.Time = time.Time{}
	invited, err := s.inviter().Invite(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if ts := invited.Event.OriginServerTS(); ts.Before(before) || ts.After(time.Now()) {
		t.Errorf("an invite of %s, made between %s and now", ts, before)
	}
}

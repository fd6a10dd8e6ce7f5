package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// keyringOf is a Signer hook for servers with these signers.
func keyringOf(signers ...fedinvite.Signer) func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
	return keyring.Signers(signers...).Signer
}

func TestLocalInvitees(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		var seen *fedinvite.Invite
		s.policy = func(inv *fedinvite.Invite) error { seen = inv; return nil }
		invited, err := s.invite("@b:a.ex")
		if err != nil {
			t.Fatal(version, err)
		}
		if !invited.Local || invited.V1 || len(invited.RoomState) != 8 || s.did("connecting") > 0 {
			t.Errorf("got %+v, did %q", invited, s.record)
		}
		if seen == nil || seen.Origin != "a.ex" || seen.Destination != "a.ex" || seen.Invitee != "@b:a.ex" || seen.Event.ID() != invited.Event.ID() || seen.V1 {
			t.Fatalf("Policy got %+v", seen)
		}
		var types []string
		for _, e := range seen.RoomState.Events {
			if e.PDU == nil || !e.Verified || e.Sender != alice || string(e.Content) != string(e.PDU.Content()) || e.Type != e.PDU.Type() {
				t.Errorf("state %+v", e)
			}
			types = append(types, e.Type+e.StateKey)
		}
		slices.Sort(types)
		if len(types) != 8 || len(slices.Compact(types)) != 8 || !slices.Contains(types, "m.room.member@a:a.ex") {
			t.Errorf("state %q", types)
		}
		if len(invited.Event.RequiredSigners()) != 1 || s.did("a.ex signs an event") != 1 {
			t.Errorf("did %q", s.record)
		}
	}
}

// The refusal comes back as it is.
func TestPolicyRefusesLocalInvites(t *testing.T) {
	refusal := fedinvite.Refuse(fedinvite.CodeInviteBlocked, "Bob takes no invites")
	s := newStage(t, fedinvite.RoomV11)
	s.policy = func(*fedinvite.Invite) error { return refusal }
	_, err := s.invite("@b:aa.ex")
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || failed.MaybeSeen || failed.Event == nil || !errors.Is(err, refusal) || err.Error() != refusal.Error() {
		t.Errorf("got %v", err)
	}
	if e := told(t, err, 403, "M_INVITE_BLOCKED"); e.Message != "Bob takes no invites" {
		t.Errorf("told %v", e)
	}
	if s.did("aa.ex signs") > 0 {
		t.Errorf("did %q", s.record)
	}

	s.policy = func(*fedinvite.Invite) error { return errors.New("secret") }
	_, err = s.invite("@b:a.ex")
	told(t, err, 500, "M_UNKNOWN")

	s.policy, s.config.Policy = nil, nil
	if _, err = s.invite("@b:a.ex"); err != nil {
		t.Error(err)
	}
}

// Two server names of ours are two servers to all others.
func TestTheServerOfALocalInviteeSignsToo(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		s.keys.Add(invitetest.Signer("aa.ex"))
		var seen *fedinvite.Invite
		s.policy = func(inv *fedinvite.Invite) error {
			if s.did("aa.ex signs") > 0 {
				t.Error("signed before Policy")
			}
			seen = inv
			return nil
		}
		invited, err := s.invite("@b:aa.ex")
		if err != nil {
			t.Fatal(version, err)
		}
		if err := invited.Event.Verify(t.Context(), s.keys, "a.ex", "aa.ex"); err != nil {
			t.Error(err)
		}
		if !invited.Local || seen.Origin != "a.ex" || seen.Destination != "aa.ex" || s.did("connecting") > 0 {
			t.Errorf("got %+v, Policy got %+v, did %q", invited, seen, s.record)
		}
	}
}

// thirdParty puts a token of alice's into the room and returns what the identity server
// signed for the invitee.
func (s *stage) thirdParty(sender, invitee string) json.RawMessage {
	s.t.Helper()
	identity := invitetest.SignerWithKey("id.ex", "ed25519:0")
	s.snapshot.State = append(s.snapshot.State, s.event("m.room.third_party_invite", "token", sender, fmt.Sprintf(
		`{"display_name":"b…","public_key":%q,"key_validity_url":"https://id.ex/valid"}`, base64Of(identity.Public()))))
	signed, err := fedinvite.SignJSON(s.t.Context(), fmt.Appendf(nil, `{"mxid":%q,"token":"token"}`, invitee), identity)
	if err != nil {
		s.t.Fatal(err)
	}
	return json.RawMessage(`{"display_name":"b…", "signed":` + string(signed) + `}`)
}

// "If the invited homeserver is in the room the invite came from, it can auth the event
// and send it": signed by the invitee's server alone.
func TestThirdPartyInvitesOfASenderWhoIsNotOurs(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		s.set("m.room.power_levels", "", `{"users":{"@c:c.ex":100},"invite":50}`)
		if version == fedinvite.RoomV12 {
			s.set("m.room.power_levels", "", `{"users":{"@c:c.ex":100}}`)
		}
		s.snapshot.State = append(s.snapshot.State, s.event("m.room.member", "@c:c.ex", "@c:c.ex", `{"membership":"join"}`))
		var seen *fedinvite.Invite
		s.policy = func(inv *fedinvite.Invite) error { seen = inv; return nil }
		i := fedclient.Invitation{RoomID: s.roomID, Sender: "@c:c.ex", Invitee: "@b:a.ex", ThirdParty: s.thirdParty("@c:c.ex", "@b:a.ex")}
		invited, err := s.inviter().Invite(t.Context(), i)
		if err != nil {
			t.Fatal(version, err)
		}
		e := invited.Event
		if err := e.Verify(t.Context(), s.keys, "a.ex"); err != nil {
			t.Error(err)
		}
		if !invited.Local || e.Sender() != "@c:c.ex" || seen.Origin != "c.ex" || seen.Destination != "a.ex" || s.did("connecting") > 0 {
			t.Errorf("got %+v, Policy got %+v", invited, seen)
		}
		if !strings.HasPrefix(e.ContentJSON("third_party_invite"), `{"display_name":"b…","signed":{"mxid":"@b:a.ex",`) || e.Membership() != "invite" {
			t.Errorf("content %s", e.Content())
		}
		want := []string{"create", "join_rules", "member @c:c.ex", "power_levels", "third_party_invite token"}
		if version == fedinvite.RoomV12 {
			want = want[1:]
		}
		if diff := cmp.Diff(want, s.typesOf(e.AuthEventIDs())); diff != "" {
			t.Error(diff)
		}
	}
}

func TestThirdPartyInvitesOfASenderOfOurs(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		i := s.invitation(bob)
		i.Content = json.RawMessage(`{"third_party_invite":"other","reason":"r"}`)
		i.ThirdParty = s.thirdParty(alice, bob)
		invited, err := s.inviter().Invite(t.Context(), i)
		if err != nil {
			t.Fatal(version, err)
		}
		if err := invited.Event.Verify(t.Context(), s.keys, "a.ex", "b.ex"); err != nil || len(s.received) != 1 || invited.Local {
			t.Errorf("got %+v, %v", invited, err)
		}
		if invited.Event.ContentJSON("third_party_invite", "signed", "token") != `"token"` || invited.Event.ContentJSON("reason") != `"r"` {
			t.Errorf("content %s", invited.Event.Content())
		}
	}
}

func TestThirdPartyInvitesThatTheRulesReject(t *testing.T) {
	for name, change := range map[string]func(s *stage, i *fedclient.Invitation){
		"for somebody else": func(s *stage, i *fedclient.Invitation) { i.Invitee = "@x:b.ex" },
		"without a token":   func(s *stage, i *fedclient.Invitation) { s.set("m.room.third_party_invite", "token", "") },
		"revoked":           func(s *stage, i *fedclient.Invitation) { s.set("m.room.third_party_invite", "token", "{}") },
		"without signed":    func(s *stage, i *fedclient.Invitation) { i.ThirdParty = json.RawMessage(`{}`) },
		"banned":            func(s *stage, i *fedclient.Invitation) { s.set("m.room.member", bob, `{"membership":"ban"}`) },
		"of another sender": func(s *stage, i *fedclient.Invitation) { i.Sender = "@x:a.ex" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11)
			i := s.invitation(bob)
			i.ThirdParty = s.thirdParty(alice, bob)
			change(s, &i)
			_, err := s.inviter().Invite(t.Context(), i)
			s.refused(err, fedinvite.ErrForbidden)
			told(t, err, 403, "M_FORBIDDEN")
		})
	}
}

func TestTakingBack(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		for _, invitee := range []string{bob, "@b:a.ex", "@b:aa.ex"} {
			s := newStage(t, version)
			s.usePolicyServer("ps.ex", s.signs("ps.ex"))
			s.set("m.room.member", invitee, `{"membership":"invite"}`)
			i := s.invitation(invitee)
			i.Content = json.RawMessage(`{"reason":"sorry","third_party_invite":{},"membership":"ban"}`)
			e, err := s.inviter().TakeBack(t.Context(), i)
			if err != nil {
				t.Fatal(version, err)
			}
			if err := e.Verify(t.Context(), s.keys, "a.ex"); err != nil {
				t.Error(err)
			}
			s.policySigned(e, "ps.ex")
			if key, _ := e.StateKey(); string(e.Content()) != `{"membership":"leave","reason":"sorry"}` || e.Sender() != alice || key != invitee || e.Depth() != 18 {
				t.Errorf("got %s", e.AppendJSON(nil))
			}
			want := []string{"create", "member @a:a.ex", "member " + invitee, "power_levels"}
			if version == fedinvite.RoomV12 {
				want = want[1:]
			}
			if diff := cmp.Diff(want, s.typesOf(e.AuthEventIDs())); diff != "" {
				t.Error(diff)
			}
			if s.did("connecting to ps.ex") != 1 || s.did("connecting") != 1 || s.did("policy") > 0 {
				t.Errorf("did %q", s.record)
			}
		}
	}
}

func TestWhatCannotBeTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *stage, i *fedclient.Invitation)
		want   error
		status int
	}{
		"no invite":       {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", bob, "") }, fedinvite.ErrForbidden, 403},
		"a join":          {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", bob, `{"membership":"join"}`) }, fedinvite.ErrForbidden, 403},
		"a knock":         {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", bob, `{"membership":"knock"}`) }, fedinvite.ErrForbidden, 403},
		"a ban":           {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", bob, `{"membership":"ban"}`) }, fedinvite.ErrForbidden, 403},
		"without power":   {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.power_levels", "", `{"users":{},"kick":1}`) }, fedinvite.ErrForbidden, 403},
		"one's own":       {func(_ *stage, i *fedclient.Invitation) { i.Invitee = alice }, fedinvite.ErrForbidden, 403},
		"for a foreigner": {func(_ *stage, i *fedclient.Invitation) { i.Sender = "@c:c.ex" }, fedinvite.ErrNotLocal, 500},
		"with a third-party invite": {func(_ *stage, i *fedclient.Invitation) {
			i.ThirdParty = json.RawMessage(`{}`)
		}, fedinvite.ErrBadJSON, 400},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11).set("m.room.member", bob, `{"membership":"invite"}`)
			i := s.invitation(bob)
			c.change(s, &i)
			e, err := s.inviter().TakeBack(t.Context(), i)
			if e != nil {
				t.Errorf("got %s", e.AppendJSON(nil))
			}
			s.refused(err, c.want)
			if e := fedclient.ClientError(err); e.HTTPStatus() != c.status {
				t.Errorf("told %v", e)
			}
		})
	}
}

func TestAPolicyServerRefusesToTakeBack(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", answerJSON(400, `{"errcode":"M_FORBIDDEN","error":"no"}`))
	s.set("m.room.member", bob, `{"membership":"invite"}`)
	e, err := s.inviter().TakeBack(t.Context(), s.invitation(bob))
	var failed *fedclient.InviteError
	if e != nil || !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen {
		t.Errorf("got %v, %v", e, err)
	}
	told(t, err, 400, "M_FORBIDDEN")
}

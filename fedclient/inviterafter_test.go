package fedclient_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

func TestLeaveOfAUserOfOurs(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		for _, membership := range []string{"invite", "join"} {
			s := newStage(t, version)
			s.usePolicyServer("ps.ex", s.signs("ps.ex"))
			s.set("m.room.member", alice, `{"membership":"`+membership+`"}`)
			e, err := s.inviter().Leave(t.Context(), fedclient.Invitation{RoomID: s.roomID, Sender: alice, Content: json.RawMessage(`{"reason":"r"}`)})
			if err != nil {
				t.Fatal(version, membership, err)
			}
			key, _ := e.StateKey()
			if e.Membership() != "leave" || e.Sender() != alice || key != alice || e.ContentJSON("reason") != `"r"` {
				t.Errorf("%s: made %s", version, e.AppendJSON(nil))
			}
			if err := e.Verify(t.Context(), s.keys, "a.ex"); err != nil {
				t.Error(version, err)
			}
			if s.did("POST ps.ex") != 1 || s.did("PUT") != 0 {
				t.Errorf("%s: record %q", version, s.record)
			}
		}
	}
}

func TestLeaveIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *stage, i *fedclient.Invitation)
		want   error
	}{
		"of somebody else":    {func(_ *stage, i *fedclient.Invitation) { i.Invitee = bob }, fedinvite.ErrForbidden},
		"of who is not there": {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", alice, `{"membership":"leave"}`) }, fedinvite.ErrForbidden},
		"of who is banned":    {func(s *stage, _ *fedclient.Invitation) { s.set("m.room.member", alice, `{"membership":"ban"}`) }, fedinvite.ErrForbidden},
		"of another server":   {func(_ *stage, i *fedclient.Invitation) { i.Sender = bob }, fedinvite.ErrNotLocal},
		"with a third party":  {func(_ *stage, i *fedclient.Invitation) { i.ThirdParty = json.RawMessage(`{}`) }, fedinvite.ErrBadJSON},
		"of a policy's server": {func(s *stage, _ *fedclient.Invitation) {
			s.usePolicyServer("ps.ex", answerJSON(403, `{"errcode":"M_FORBIDDEN"}`))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11)
			i := fedclient.Invitation{RoomID: s.roomID, Sender: alice}
			c.change(s, &i)
			e, err := s.inviter().Leave(t.Context(), i)
			var failed *fedclient.InviteError
			if e != nil || !errors.As(err, &failed) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("made %v, error %v", e, err)
			}
			if c.want != nil && s.did("a.ex signs an event") != 0 {
				t.Error("something was signed")
			}
		})
	}
}

func TestResend(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	works := s.servers["b.ex"]
	s.servers["b.ex"] = answerJSON(http.StatusInternalServerError, `{}`)
	_, err := s.invite(bob)
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || !failed.MaybeSeen {
		t.Fatalf("error %v", err)
	}

	s.servers["b.ex"] = answerJSON(http.StatusForbidden, `{"errcode":"M_FORBIDDEN"}`)
	_, err = s.inviter().Resend(t.Context(), failed)
	var again *fedclient.InviteError
	if !errors.As(err, &again) || !again.MaybeSeen || again.Event != failed.Event || fedclient.ClientError(err).Code != fedinvite.CodeForbidden {
		t.Errorf("error %#v: a refusal now does not take back what was seen before", err)
	}

	s.servers["b.ex"] = works
	invited, err := s.inviter().Resend(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if invited.Event.ID() != failed.Event.ID() || invited.Event.Verify(t.Context(), s.keys, "a.ex", "b.ex") != nil {
		t.Errorf("got %s", invited.Event.AppendJSON(nil))
	}
	if len(s.received) != 1 || len(s.received[0].RoomState.Events) != len(failed.RoomState) {
		t.Error("the room state was not sent again")
	}

	for _, nothing := range []*fedclient.InviteError{nil, {}} {
		if _, err := s.inviter().Resend(t.Context(), nothing); err == nil {
			t.Error("nothing can be sent again")
		}
	}
}

func TestWhatAPolicyServerOrAHookRefusedIsNotSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(s *stage){
		"policy server": func(s *stage) { s.usePolicyServer("ps.ex", answerJSON(403, `{"errcode":"M_FORBIDDEN"}`)) },
		"Made":          func(s *stage) { s.made(func() error { return errors.New("no") }) },
	} {
		s := newStage(t, fedinvite.RoomV11)
		refuse(s)
		_, err := s.invite(bob)
		var failed *fedclient.InviteError
		if !errors.As(err, &failed) || failed.Event == nil {
			t.Fatalf("%s: error %v", name, err)
		}
		if _, err := s.inviter().Resend(t.Context(), failed); err != error(failed) || s.did("PUT") != 0 {
			t.Errorf("%s: error %v, record %q", name, err, s.record)
		}
	}
}

func TestClientStateIsForClients(t *testing.T) {
	s := newStage(t, fedinvite.RoomV12)
	invited, err := s.invite("@b:a.ex")
	if err != nil {
		t.Fatal(err)
	}
	state := invited.ClientState()
	if len(state) != len(invited.RoomState) || len(state) != 8 && len(state) != 9 {
		t.Fatalf("%d entries of %d", len(state), len(invited.RoomState))
	}
	for _, raw := range state {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, name := range []string{"content", "sender", "state_key", "type"} {
			if members[name] != nil {
				names = append(names, name)
			}
		}
		if diff := cmp.Diff([]string{"content", "sender", "state_key", "type"}, names); diff != "" || len(members) != 4 {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

// The rules would let a third-party invite undo a join.
func TestAThirdPartyInviteOfSomebodyWhoIsJoinedIsNotMade(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	i := s.invitation(bob)
	i.ThirdParty = s.thirdParty(alice, bob)
	s.set("m.room.member", bob, `{"membership":"join"}`)
	_, err := s.inviter().Invite(t.Context(), i)
	s.refused(err, fedinvite.ErrForbidden)
	if s.did("a.ex signs an event") != 0 {
		t.Error("something was signed")
	}
}

func TestAServerThatFailsHasNotRefused(t *testing.T) {
	for status, want := range map[int]string{
		500: "the invited user's server failed to answer the invite",
		429: "the invited user's server failed to answer the invite",
		418: "the invited user's server refused the invite",
	} {
		s := newStage(t, fedinvite.RoomV11)
		s.servers["b.ex"] = answerJSON(status, `{}`)
		_, err := s.invite(bob)
		if told := fedclient.ClientError(err); told.Message != want || told.Status != 502 {
			t.Errorf("%d: %v", status, told)
		}
	}
}

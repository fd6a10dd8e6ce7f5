package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func TestOutcomes(t *testing.T) {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRoom(t.Context(), rules, newTestSigner(t, "a.example"), "@a:a.example", "<Name>")
	if err != nil {
		t.Fatal(err)
	}
	e := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	delivery := &fedinvite.Delivery{
		Origin: "a.example", RoomID: e.RoomID(), EventID: e.ID(),
		Request: fedinvite.Request{RoomVersion: "11"},
	}
	invite := &fedinvite.Invite{Origin: "a.example", Invitee: "@b:b.example", Event: e, RoomState: fedinvite.RoomState{
		Events:   []fedinvite.StateEvent{{Type: "m.room.name", Sender: "@a:a.example", Content: json.RawMessage(`{"name":"<Name>"}`)}},
		Warnings: []error{fedinvite.ErrStateMissing},
	}}
	known := fmt.Sprintf(`"origin":"a.example","sender":"@a:a.example","invitee":"@b:b.example","room_id":%q,"room_version":"11","event_id":%q`, e.RoomID(), e.ID())
	claimed := fmt.Sprintf(`"origin":"a.example","sender":"","invitee":"","room_id":%q,"room_version":"11","event_id":%q`, e.RoomID(), e.ID())
	unrecognized := &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound}
	for _, c := range []struct {
		name   string
		invite *fedinvite.Invite
		err    error
		want   string
	}{
		{"accepted", invite, nil, `{"event":"invited",` + known + `,"room_state":[{"content":{"name":"<Name>"},"sender":"@a:a.example",` +
			`"state_key":"","type":"m.room.name"}],"warnings":["invite_room_state: no m.room.create event"]}`},
		{"accepted without state", &fedinvite.Invite{Invitee: "@b:b.example", Event: e}, nil, `{"event":"invited",` + known + `,"room_state":[],"warnings":[]}`},
		{"refused by policy", invite, fmt.Errorf("policy: %w", fedinvite.Refuse(fedinvite.CodeForbidden, "no")),
			`{"event":"refused",` + known + `,"errcode":"M_FORBIDDEN","reason":"policy: M_FORBIDDEN: no"}`},
		{"refused early", nil, fmt.Errorf("body: %w", fedinvite.ErrBadJSON), `{"event":"refused",` + claimed + `,"errcode":"M_BAD_JSON","reason":"body: bad JSON"}`},
		{"failed", nil, errors.New("disk full"), `{"event":"refused",` + claimed + `,"errcode":"M_UNKNOWN","reason":"disk full"}`},
		{"no invite", nil, fmt.Errorf("path: %w", unrecognized), ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			newOutcomes(&out).received(context.Background(), delivery, c.invite, c.err)
			want := c.want
			if want != "" {
				want += "\n"
			}
			diff(t, want, out.String())
		})
	}
}

func TestEndings(t *testing.T) {
	rules, err := fedinvite.RoomV12.Rules()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRoom(t.Context(), rules, newTestSigner(t, "a.example"), "@a:a.example", "")
	if err != nil {
		t.Fatal(err)
	}
	invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	declined := newTestMember(t, r.with(invite), "leave", "@b:b.example", "@b:b.example")
	takenBack := newTestMember(t, r.with(invite), "leave", "@a:a.example", "@b:b.example")
	var out strings.Builder
	o := newOutcomes(&out)
	o.declined(declined)
	o.takenBack(takenBack, invite)
	about := fmt.Sprintf(`"invitee":"@b:b.example","room_id":%q,"room_version":"12","event_id":`, r.id)
	diff(t, `{"event":"declined","sender":"@b:b.example",`+about+`"`+declined.ID()+`"}`+"\n"+
		`{"event":"taken back","sender":"@a:a.example",`+about+`"`+takenBack.ID()+`"}`+"\n", out.String())
}

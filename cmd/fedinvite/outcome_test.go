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
	e, err := r.invite(t.Context(), "@b:b.example")
	if err != nil {
		t.Fatal(err)
	}
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
		{"accepted", invite, nil, `{` + known + `,"room_state":[{"content":{"name":"<Name>"},"sender":"@a:a.example",` +
			`"state_key":"","type":"m.room.name"}],"warnings":["invite_room_state: no m.room.create event"]}`},
		{"accepted without state", &fedinvite.Invite{Invitee: "@b:b.example", Event: e}, nil, `{` + known + `,"room_state":[],"warnings":[]}`},
		{"refused by policy", invite, fmt.Errorf("policy: %w", fedinvite.Refuse(fedinvite.CodeForbidden, "no")),
			`{` + known + `,"errcode":"M_FORBIDDEN","reason":"policy: M_FORBIDDEN: no"}`},
		{"refused early", nil, fmt.Errorf("body: %w", fedinvite.ErrBadJSON), `{` + claimed + `,"errcode":"M_BAD_JSON","reason":"body: bad JSON"}`},
		{"failed", nil, errors.New("disk full"), `{` + claimed + `,"errcode":"M_UNKNOWN","reason":"disk full"}`},
		{"no invite", nil, fmt.Errorf("path: %w", unrecognized), ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			newOutcomes(&out).done(context.Background(), delivery, c.invite, c.err)
			want := c.want
			if want != "" {
				want += "\n"
			}
			diff(t, want, out.String())
		})
	}
}

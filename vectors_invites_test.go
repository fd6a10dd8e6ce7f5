package fedinvite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// vectorPolicies are the hooks' answers by which a world's policy is told.
var vectorPolicies = map[string]*fedinvite.Error{
	"room_blocked":    fedinvite.Refuse(fedinvite.CodeForbidden, "this room is blocked"),
	"origin_blocked":  fedinvite.Refuse(fedinvite.CodeForbidden, "your server is blocked"),
	"invites_blocked": fedinvite.Refuse(fedinvite.CodeInviteBlocked, "no invites please"),
	"user_unknown":    fedinvite.Refuse(fedinvite.CodeForbidden, "no such user"),
	"rate_limited":    fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slow down"),
	"already_joined":  fedinvite.Refuse(fedinvite.CodeForbidden, "in the room already"),
	"banned":          fedinvite.Refuse(fedinvite.CodeForbidden, "banned from the room"),
}

// A vectorHost is a receiving server of a world.
type vectorHost struct {
	*fedinvite.Receiver
	stored []*fedinvite.Invite
	signed int
}

func newVectorHost(t *testing.T, w vectorWorld) *vectorHost {
	t.Helper()
	h := &vectorHost{}
	config := fedinvite.Config{
		Keys:        w.keySource(t),
		Credentials: w.credentials(t),
		Signer: func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
			own, ok := w.Servers[server]
			if !ok {
				return nil, fedinvite.ErrNotLocal
			}
			return &countingSigner{signerFromSeed(t, string(server), own.KeyID, own.Seed), &h.signed}, nil
		},
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			h.stored = append(h.stored, inv)
			return nil
		}),
	}
	if w.ACL != "" {
		acl, err := fedinvite.ParseServerACL(json.RawMessage(w.ACL))
		if err != nil {
			t.Fatal(err)
		}
		config.ServerAllowed = func(_ context.Context, _ string, server fedinvite.ServerName) (bool, error) {
			return acl.Allows(server), nil
		}
	}
	if w.Policy != "" {
		refusal := vectorPolicies[w.Policy]
		if refusal == nil {
			t.Fatalf("unknown policy %q", w.Policy)
		}
		config.Policy = func(context.Context, *fedinvite.Invite) error { return refusal }
	}
	switch w.RoomState {
	case "":
	case "strict":
		config.RoomState = fedinvite.StateStrict
	default:
		t.Fatalf("unknown room_state %q", w.RoomState)
	}
	var err error
	if h.Receiver, err = fedinvite.NewReceiver(config); err != nil {
		t.Fatal(err)
	}
	return h
}

// A countingSigner counts how often it was asked.
type countingSigner struct {
	fedinvite.Signer
	asked *int
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	*s.asked++
	return s.Signer.Sign(ctx, message)
}

type inviteVector struct {
	vectorHead
	World       string          `json:"world"`
	RoomVersion string          `json:"room_version"`
	Twice       bool            `json:"twice"`
	Request     vectorRequest   `json:"request"`
	Expect      []vectorOutcome `json:"expect"`
}

func TestVectorsInvitesIn(t *testing.T) {
	for _, kind := range vectorKinds(t, "invites-in/*") {
		t.Run(strings.TrimPrefix(kind, "invites-in/"), func(t *testing.T) {
			file := vectors[inviteVector](t, kind)
			for _, c := range file.Cases {
				t.Run(c.Name, func(t *testing.T) {
					world, ok := file.Worlds[c.World]
					if !ok {
						t.Fatalf("no world %q", c.World)
					}
					h := newVectorHost(t, world)
					first := h.answer(t, c)
					h.judge(t, c, first)
					if c.Twice {
						if again := h.answer(t, c); again.Code != first.Code || again.Body.String() != first.Body.String() {
							t.Errorf("the second answer is another: %d %s", again.Code, again.Body)
						}
					}
				})
			}
		})
	}
}

// answer has the case's request served.
func (h *vectorHost) answer(t *testing.T, c inviteVector) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, c.Request.http(t))
	return w
}

// laterOutcomes are the cases in which the library shows another outcome than the first,
// which is the best.
var laterOutcomes = map[string]int{
	// Today's servers send no other PDU than the create event; StateStrict refuses it.
	"34 create event whole, name stripped, room version 12": 3,
}

// judge compares an answer, and what the server stored, with the outcomes of the case.
func (h *vectorHost) judge(t *testing.T, c inviteVector, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusOK && (len(h.stored) > 0 || h.signed > 0) {
		t.Errorf("refused, but stored %d invites and signed %d times", len(h.stored), h.signed)
	}
	var whys []string
	for i, want := range c.Expect {
		why := h.mismatch(t, c, want, w)
		if why == "" {
			if i != laterOutcomes[c.Name] {
				t.Errorf("outcome %d, want %d: %d %s", i, laterOutcomes[c.Name], w.Code, w.Body)
			}
			return
		}
		whys = append(whys, fmt.Sprintf("%s %s: %s", want.Level, want.Result, why))
	}
	t.Errorf("%d %s\n%s", w.Code, w.Body, strings.Join(whys, "\n"))
}

// mismatch says in what the answer is not the outcome, or "".
func (h *vectorHost) mismatch(t *testing.T, c inviteVector, want vectorOutcome, w *httptest.ResponseRecorder) string {
	t.Helper()
	switch want.Result {
	case "refuse":
		var body struct {
			Errcode fedinvite.Code `json:"errcode"`
			Version string         `json:"room_version"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		switch {
		case want.Status == 0 && (w.Code < 400 || w.Code > 499), want.Status != 0 && w.Code != want.Status:
			return "another status"
		case want.Errcode != "" && body.Errcode != want.Errcode:
			return "another errcode"
		case want.Version != "" && body.Version != want.Version:
			return "another room_version"
		}
		return ""
	case "accept":
		if w.Code != want.Status {
			return "another status"
		}
		reply := w.Body.String()
		if strings.HasPrefix(c.Request.Target, "/_matrix/federation/v1/") {
			inner, ok := strings.CutPrefix(reply, "[200,")
			if reply, _ = strings.CutSuffix(inner, "]"); !ok {
				return "not of the form [200, {…}]"
			}
		}
		var members struct {
			Event json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal([]byte(reply), &members); err != nil {
			return err.Error()
		}
		if diff := cmp.Diff(want.Event, withoutMember(t, string(members.Event), "unsigned")); want.Event != "" && diff != "" {
			return "event: -want +got\n" + diff
		}
		if len(h.stored) != 1 || h.signed != 1 {
			return fmt.Sprintf("stored %d times, signed %d times", len(h.stored), h.signed)
		}
		return cmp.Diff(want.Stored, storedVector(h.stored[0], want.Stored))
	}
	t.Fatalf("unknown result %q", want.Result)
	return ""
}

// storedVector tells of an invite what the vectors tell; of the room state, which has no
// order, what is not wanted.
func storedVector(inv *fedinvite.Invite, want *vectorStored) *vectorStored {
	got := &vectorStored{
		RoomVersion: inv.Event.Rules().Version, RoomID: inv.Event.RoomID(), EventID: inv.Event.ID(),
		Sender: inv.Event.Sender(), Invitee: inv.Invitee, Redacted: want.Redacted, RoomState: want.RoomState,
	}
	if want.RoomVersion == "" { // of a v1 request
		got.RoomVersion = ""
	}
	state := []string{}
	for _, entry := range inv.RoomState.Client() {
		state = append(state, string(entry))
	}
	if !slices.Equal(slices.Sorted(slices.Values(state)), slices.Compact(slices.Sorted(slices.Values(want.RoomState)))) {
		got.RoomState = state
	}
	return got
}

type draftVector struct {
	vectorHead
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	RoomID      string                `json:"room_id"`
	Sender      string                `json:"sender"`
	Invitee     string                `json:"invitee"`
	EventID     string                `json:"event_id"`
	AuthEvents  []vectorReference     `json:"auth_events"`
	PrevEvents  []vectorReference     `json:"prev_events"`
	Depth       int64                 `json:"depth"`
	Time        int64                 `json:"origin_server_ts"`
	Content     string                `json:"content"`
	RoomState   []string              `json:"invite_room_state"`
	Server      string                `json:"server_name"`
	KeyID       string                `json:"key_id"`
	Seed        string                `json:"seed"`
	Expect      string                `json:"expect"`
	Made        struct {
		EventID string `json:"event_id"`
		Event   string `json:"event"`
		BodyV2  string `json:"body_v2"`
		BodyV1  string `json:"body_v1"`
	} `json:"made"`
}

type vectorReference struct {
	EventID string `json:"event_id"`
	SHA256  string `json:"sha256"`
}

func (d draftVector) draft(t *testing.T) fedinvite.Draft {
	t.Helper()
	refs := func(list []vectorReference) (all []fedinvite.EventRef) {
		for _, r := range list {
			hash, err := fedinvite.DecodeBase64(r.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fedinvite.EventRef{ID: r.EventID, SHA256: hash})
		}
		return all
	}
	return fedinvite.Draft{
		RoomID: d.RoomID, Sender: d.Sender, Invitee: d.Invitee, EventID: d.EventID, Depth: d.Depth,
		AuthEvents: refs(d.AuthEvents), PrevEvents: refs(d.PrevEvents), Time: time.UnixMilli(d.Time), Content: json.RawMessage(d.Content),
	}
}

func TestVectorsDrafts(t *testing.T) {
	for _, c := range vectors[draftVector](t, "invites-out/drafts").Cases {
		t.Run(c.Name, func(t *testing.T) {
			e, err := fedinvite.NewInvite(t.Context(), c.draft(t), rulesOf(t, c.RoomVersion), signerFromSeed(t, c.Server, c.KeyID, c.Seed))
			wantAccept(t, c.Expect, err)
			if err != nil || c.Expect != "accept" {
				return
			}
			if diff := cmp.Diff([]string{c.Made.EventID, c.Made.Event}, []string{e.ID(), string(e.AppendJSON(nil))}); diff != "" {
				t.Errorf("event: -want +got\n%s", diff)
			}
			req := fedinvite.Request{RoomVersion: c.RoomVersion, Event: e.AppendJSON(nil)}
			for _, s := range c.RoomState {
				req.RoomState = append(req.RoomState, json.RawMessage(s))
			}
			body, err := req.MarshalV2()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Made.BodyV2, canonicalText(t, string(body))); diff != "" {
				t.Errorf("body for v2: -want +got\n%s", diff)
			}
			if (c.Made.BodyV1 != "") != (c.RoomVersion == "1" || c.RoomVersion == "2") {
				t.Error("the v1 endpoint is for room versions 1 and 2")
			}
			if c.Made.BodyV1 == "" {
				return
			}
			if body, err = req.MarshalV1(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Made.BodyV1, canonicalText(t, string(body))); diff != "" {
				t.Errorf("body for v1: -want +got\n%s", diff)
			}
		})
	}
}

type replyVector struct {
	vectorHead
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	Sent        string                `json:"sent"`
	Invited     fedinvite.ServerName  `json:"invited_server"`
	Keys        vectorKeys            `json:"keys"`
	Endpoint    string                `json:"endpoint"`
	Body        string                `json:"body"`
	Expect      string                `json:"expect"`
	Merged      string                `json:"merged"`
	MergedOr    []string              `json:"merged_or"`
}

func TestVectorsReplies(t *testing.T) {
	for _, c := range vectors[replyVector](t, "invites-out/replies").Cases {
		t.Run(c.Name, func(t *testing.T) {
			sent, err := fedinvite.ParseEvent([]byte(c.Sent), rulesOf(t, c.RoomVersion))
			if err != nil {
				t.Fatal(err)
			}
			parse := fedinvite.ParseResponseV2
			if c.Endpoint == "v1" {
				parse = fedinvite.ParseResponseV1
			}
			var merged *fedinvite.Event
			response, err := parse([]byte(c.Body))
			if err == nil {
				merged, err = fedinvite.MergeReply(t.Context(), sent, response.Event, c.Invited, c.Keys.keyMap(t))
			}
			wantAccept(t, c.Expect, err)
			if err != nil || c.Expect != "accept" {
				return
			}
			got := withoutMember(t, string(merged.AppendJSON(nil)), "unsigned")
			if diff := cmp.Diff(c.Merged, got); diff != "" && !slices.Contains(c.MergedOr, got) {
				t.Errorf("merged event: -want +got\n%s", diff)
			}
		})
	}
}

type fallbackVector struct {
	vectorHead
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	Status      int                   `json:"status"`
	ContentType string                `json:"content_type"`
	Body        string                `json:"body"`
	Expect      []fallbackOutcome     `json:"expect"`
}

type fallbackOutcome struct {
	Level string `json:"level"`
	V1    bool   `json:"asks_v1"`
}

// A refusingServer answers every request with the same refusal.
type refusingServer struct {
	answer fallbackVector
	paths  []string
}

func (s *refusingServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.paths = append(s.paths, req.URL.Path)
	res := &http.Response{
		StatusCode: s.answer.Status, Header: http.Header{}, Request: req,
		Body: io.NopCloser(strings.NewReader(s.answer.Body)), ContentLength: int64(len(s.answer.Body)),
	}
	if s.answer.ContentType != "" {
		res.Header.Set("Content-Type", s.answer.ContentType)
	}
	return res, nil
}

// The Client asks the v1 endpoint as it does by default, or with FallbackAlways.
func TestVectorsFallback(t *testing.T) {
	for _, c := range vectors[fallbackVector](t, "invites-out/fallback").Cases {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/always=%v", c.Name, always), func(t *testing.T) {
				server := &refusingServer{answer: c}
				client, err := fedclient.New(fedclient.Config{UserAgent: "test/1", Transport: server, FallbackAlways: always, Retries: -1})
				if err != nil {
					t.Fatal(err)
				}
				asked := askV2(t, client, server, c.RoomVersion)
				if !slices.ContainsFunc(c.Expect, func(want fallbackOutcome) bool { return want.V1 == asked }) {
					t.Errorf("asks the v1 endpoint: %v", asked)
				}
				if first := c.Expect[0]; always && c.Status < 403 && first.V1 != asked {
					t.Errorf("asks the v1 endpoint: %v, as the specification says: %v", asked, first.V1)
				}
			})
		}
	}
}

// askV2 sends an invite to the refusing server and reports whether it was asked by v1 too.
func askV2(t *testing.T, client *fedclient.Client, server *refusingServer, v fedinvite.RoomVersion) bool {
	t.Helper()
	for _, c := range vectors[draftVector](t, "invites-out/drafts").Cases {
		if c.RoomVersion != v {
			continue
		}
		signer := signerFromSeed(t, c.Server, c.KeyID, c.Seed)
		e, err := fedinvite.NewInvite(t.Context(), c.draft(t), rulesOf(t, v), signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.SendInvite(t.Context(), fedclient.InviteRequest{Event: e, Signer: signer, Keys: fedinvite.KeyMap{}}); err == nil {
			t.Fatal("no error")
		}
		if len(server.paths) == 0 || !strings.HasPrefix(server.paths[0], "/_matrix/federation/v2/invite/") {
			t.Fatalf("asked %q", server.paths)
		}
		return len(server.paths) == 2 && strings.HasPrefix(server.paths[1], "/_matrix/federation/v1/invite/")
	}
	t.Fatalf("no draft of room version %s", v)
	return false
}

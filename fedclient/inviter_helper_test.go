package fedclient_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// Invites go from @a:a.ex to @b:b.ex unless they say otherwise. The servers a.ex and
// aa.ex are ours, b.ex runs a Receiver, ps.ex may be asked as a policy server.
const (
	alice = "@a:a.ex"
	bob   = "@b:b.ex"
)

// A stage is a room of ours, the servers around it, and a record of all that happens.
type stage struct {
	t      testing.TB
	rules  fedinvite.Rules
	room   *invitetest.Room
	roomID string           // that of room, unless a test wants another
	signer fedinvite.Signer // of a.ex, not recorded

	snapshot fedclient.Snapshot
	joined   []fedinvite.ServerName
	keys     fedinvite.KeyMap
	servers  map[string]http.Handler // in memory, by host
	policy   func(*fedinvite.Invite) error
	received []*fedinvite.Invite // by b.ex
	config   fedclient.InviterConfig

	mu     sync.Mutex
	record []string
	stopAt int // the number of the entry at which stop is called
	stop   context.CancelFunc
}

func newStage(t testing.TB, version fedinvite.RoomVersion) *stage {
	t.Helper()
	return newStageOf(t, rulesOf(t, version))
}

func newStageOf(t testing.TB, rules fedinvite.Rules) *stage {
	t.Helper()
	s := &stage{
		t: t, rules: rules, signer: invitetest.Signer("a.ex"),
		keys: invitetest.Keys("a.ex", "b.ex"), servers: map[string]http.Handler{},
	}
	s.furnish()
	s.servers["b.ex"] = s.receiver("b.ex")
	s.config = fedclient.InviterConfig{
		Client: newClient(t, tripper(s.roundTrip)),
		Keys:   keysOf(func() { s.note("keys") }, s.keys),
		Room:   (*stageRoom)(s),
		Now:    clock,
		Signer: s.findSigner,
		Rules:  s.findRules,
		Policy: func(_ context.Context, inv *fedinvite.Invite) error {
			s.note("policy")
			if s.policy == nil {
				return nil
			}
			return s.policy(inv)
		},
	}
	return s
}

// furnish gives the room a state that allows everything.
func (s *stage) furnish() {
	s.room = invitetest.RoomConfig{Rules: s.rules, Creator: alice, Seed: "r", Now: clock}.New()
	s.roomID = s.room.ID()
	s.snapshot = fedclient.Snapshot{
		Version:     s.rules.Version,
		Extremities: s.extremities(2),
		Depth:       17,
		Joined:      func(server fedinvite.ServerName) bool { s.note("joined"); return slices.Contains(s.joined, server) },
	}
	levels := invitetest.Change(s.room.Get("m.room.power_levels", "").Content(), invitetest.Set(50, "invite"))
	s.set("m.room.topic", "", `{"topic":"t"}`).set("m.room.member", alice, `{"membership":"join","displayname":"Alice"}`)
	s.set("m.room.encryption", "", `{"algorithm":"m.megolm.v1.aes-sha2"}`).set("m.room.join_rules", "", `{"join_rule":"invite"}`)
	s.set("m.room.power_levels", "", string(levels)).set("m.room.avatar", "", `{"url":"mxc://a.ex/a"}`)
	s.set("m.room.canonical_alias", "", `{"alias":"#r:a.ex"}`).set("m.room.name", "", `{"name":"n"}`)
	s.snapshot.State = append(s.snapshot.State, s.room.Get("m.room.create", ""))
}

// extremities are of events that nobody asks for.
func (s *stage) extremities(n int) []fedinvite.EventRef {
	var refs []fedinvite.EventRef
	for i := range n {
		ref := fedinvite.EventRef{ID: fmt.Sprintf("$%043d", i)}
		if s.rules.EventIDs == fedinvite.EventIDServer {
			ref = fedinvite.EventRef{ID: fmt.Sprintf("$%d:a.ex", i), SHA256: bytes.Repeat([]byte{byte(i)}, 32)}
		}
		refs = append(refs, ref)
	}
	return refs
}

// event returns a state event of the room.
func (s *stage) event(eventType, key, sender, content string) *fedinvite.Event {
	s.t.Helper()
	o := s.room.Draft(sender, eventType, key, json.RawMessage(content))
	o["room_id"] = s.roomID
	if eventType == "m.room.create" {
		o["auth_events"], o["prev_events"], o["depth"] = []any{}, []any{}, 1
		if s.rules.RoomIDIsCreateEvent {
			delete(o, "room_id")
		}
	}
	e, err := fedinvite.ParseStored(s.room.Sign(o), s.rules)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// set puts state events by alice in place of others of their keys; "" as content removes.
func (s *stage) set(eventType, key, content string) *stage {
	s.t.Helper()
	s.snapshot.State = slices.DeleteFunc(s.snapshot.State, func(e *fedinvite.Event) bool {
		k, _ := e.StateKey()
		return e.Type() == eventType && k == key
	})
	if content != "" {
		s.snapshot.State = append(s.snapshot.State, s.event(eventType, key, alice, content))
	}
	return s
}

// usePolicyServer gives the room a policy server that answers so.
func (s *stage) usePolicyServer(name fedinvite.ServerName, answer http.HandlerFunc) *stage {
	s.t.Helper()
	key := invitetest.SignerWithKey(name, "ed25519:policy_server").Public()
	s.set("m.room.policy", "", fmt.Sprintf(`{"via":%q,"public_keys":{"ed25519":%q}}`, name, base64Of(key)))
	s.joined = append(s.joined, name)
	s.servers[string(name)] = answer
	return s
}

// signs is the answer of a policy server that agrees.
func (s *stage) signs(name fedinvite.ServerName) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"`+string(name)+`":{"ed25519:policy_server":"`+s.policySignature(name, body)+`"}}`)
	}
}

// policySignature signs an event as a policy server does.
func (s *stage) policySignature(name fedinvite.ServerName, event []byte) string {
	s.t.Helper()
	signed := s.room.Sign(json.RawMessage(event), invitetest.SignerWithKey(name, "ed25519:policy_server"))
	return signatureOf(s.t, s.room.Parse(signed), name, "ed25519:policy_server")
}

func signatureOf(t testing.TB, e *fedinvite.Event, server fedinvite.ServerName, id string) string {
	t.Helper()
	var all map[string]map[string]string
	if err := json.Unmarshal(e.Signatures(), &all); err != nil {
		t.Fatal(err)
	}
	return all[string(server)][id]
}

// note adds an entry to the record.
func (s *stage) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = append(s.record, what)
	if len(s.record) == s.stopAt {
		s.stop()
	}
}

// did returns how often the record has an entry that starts so.
func (s *stage) did(prefix string) int {
	n := 0
	for _, entry := range s.record {
		if strings.HasPrefix(entry, prefix) {
			n++
		}
	}
	return n
}

func (s *stage) findRules(version fedinvite.RoomVersion) (fedinvite.Rules, error) {
	s.note("rules")
	return s.knownRules(version)
}

func (s *stage) knownRules(version fedinvite.RoomVersion) (fedinvite.Rules, error) {
	if version == s.rules.Version {
		return s.rules, nil
	}
	return version.Rules()
}

func (s *stage) findSigner(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
	s.note("signer of " + string(server))
	if server != "a.ex" && server != "aa.ex" {
		return nil, fmt.Errorf("%s: %w", server, fedinvite.ErrNotLocal)
	}
	return &notedSigner{invitetest.Signer(server), s}, nil
}

// A notedSigner records what it signs.
type notedSigner struct {
	fedinvite.Signer
	s *stage
}

func (n *notedSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	what := "an event"
	if bytes.Contains(message, []byte(`,"uri":"`)) {
		what = "a request"
	}
	n.s.note(string(n.ServerName()) + " signs " + what)
	return n.Signer.Sign(ctx, message)
}

// stageRoom is the room as the Inviter sees it.
type stageRoom stage

func (r *stageRoom) Snapshot(_ context.Context, roomID string, _ []eventauth.StateKey) (*fedclient.Snapshot, error) {
	s := (*stage)(r)
	s.note("snapshot")
	if roomID != s.roomID {
		return nil, fedinvite.Refuse(fedinvite.CodeForbidden, "no such room")
	}
	snapshot := s.snapshot
	return &snapshot, nil
}

// notedKeys are keys that look at the context.
type notedKeys struct {
	note func()
	keys fedinvite.KeySource
}

func keysOf(note func(), keys fedinvite.KeySource) fedinvite.KeySource { return notedKeys{note, keys} }

func (k notedKeys) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	k.note()
	if err := ctx.Err(); err != nil {
		return fedinvite.VerifyKey{}, err
	}
	return k.keys.VerifyKey(ctx, server, id, at)
}

// roundTrip hands a request to the handler of its host, as net/http would.
func (s *stage) roundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		trace.GetConn(host)
	}
	s.note("connecting to " + host)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	handler := s.servers[host]
	if handler == nil {
		return nil, errors.New("no such host")
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.note(req.Method + " " + host + req.URL.Path)
	in := httptest.NewRequest(req.Method, req.URL.RequestURI(), bytes.NewReader(body))
	in.Header = req.Header.Clone()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// receiver is the endpoint of a server.
func (s *stage) receiver(name fedinvite.ServerName) http.Handler {
	s.t.Helper()
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      keyring.Signers(invitetest.Signer(name)).Signer,
		Keys:        s.keys,
		Credentials: xmatrix.Verifier{Keys: s.keys, Now: clock}.Credentials,
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			s.received = append(s.received, inv)
			return nil
		}),
		RoomState: fedinvite.StateStrict,
		Rules:     s.knownRules,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return receiver
}

func (s *stage) inviter() *fedclient.Inviter {
	s.t.Helper()
	v, err := fedclient.NewInviter(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *stage) invitation(invitee string) fedclient.Invitation {
	return fedclient.Invitation{RoomID: s.roomID, Sender: alice, Invitee: invitee}
}

func (s *stage) invite(invitee string) (*fedclient.Invited, error) {
	s.t.Helper()
	return s.inviter().Invite(s.t.Context(), s.invitation(invitee))
}

// refused demands an InviteError of an event that was not made, and that nothing was
// signed and nobody asked.
func (s *stage) refused(err error, want error) {
	s.t.Helper()
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || failed.Event != nil || failed.MaybeSeen || want != nil && !errors.Is(err, want) {
		s.t.Errorf("got %#v (%v), want %v", err, err, want)
	}
	for _, entry := range s.record {
		if strings.Contains(entry, " signs ") || strings.HasPrefix(entry, "connecting") {
			s.t.Errorf("it did %q", s.record)
		}
	}
}

func base64Of(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

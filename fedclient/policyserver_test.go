package fedclient_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// policySigned demands a valid signature of the policy server.
func (s *stage) policySigned(e *fedinvite.Event, name fedinvite.ServerName) {
	s.t.Helper()
	if want := s.policySignature(name, e.AppendJSON(nil)); want == "" || signatureOf(s.t, e, name, "ed25519:policy_server") != want {
		s.t.Errorf("not signed by the policy server: %s", e.Signatures())
	}
}

// Asked with the event that we signed, before anybody else.
func TestScenario59ThePolicyServerSignsBeforeTheInvitedServer(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		agree := s.signs("ps.ex")
		s.usePolicyServer("ps.ex", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			credentials, err := xmatrix.Verifier{Keys: s.keys, Now: clock}.Credentials(r)
			if err == nil {
				err = credentials.Verify(r.Context(), body)
			}
			if err != nil || credentials.Origin != "a.ex" || credentials.Destination != "ps.ex" || r.RequestURI != "/_matrix/policy/v1/sign" {
				t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			}
			e, err := fedinvite.ParseEvent(body, s.rules)
			if err != nil || e.Verify(r.Context(), s.keys, "a.ex") != nil {
				t.Errorf("asked about %s: %v", body, err)
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			agree(w, r)
		})
		invited, err := s.invite(bob)
		if err != nil {
			t.Fatal(version, err)
		}
		e := invited.Event
		s.policySigned(e, "ps.ex")
		s.policySigned(s.received[0].Event, "ps.ex")
		if err := e.Verify(t.Context(), s.keys, "a.ex", "b.ex"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{
			"signer of a.ex", "signer of b.ex", "snapshot", "rules", "joined",
			"a.ex signs an event",
			"a.ex signs a request", "connecting to ps.ex", "POST ps.ex/_matrix/policy/v1/sign",
			"a.ex signs a request", "connecting to b.ex", "PUT b.ex/_matrix/federation/v2/invite/" + s.roomID + "/" + e.ID(),
			"keys",
		}, s.record); diff != "" {
			t.Errorf("version %s: %s", version, diff)
		}
	}
}

// Refusal: no request, error verbatim.
func TestScenario59ARefusalIsToldVerbatim(t *testing.T) {
	for _, c := range []struct {
		status     int
		body       string
		toldStatus int
		toldCode   fedinvite.Code
		message    string
		retryable  bool
	}{
		{400, `{"errcode":"M_FORBIDDEN","error":"The message appears to contain possible spam"}`, 400, "M_FORBIDDEN", "The message appears to contain possible spam", false},
		{403, `{"errcode":"M_FORBIDDEN","error":"Your server is not allowed to request a signature."}`, 403, "M_FORBIDDEN", "Your server is not allowed to request a signature.", false},
		{404, `{"errcode":"M_NOT_FOUND","error":"Unknown room"}`, 404, "M_NOT_FOUND", "Unknown room", false},
		{400, `{"errcode":"M_BAD_JSON","error":"bad"}`, 400, "M_BAD_JSON", "bad", false},
		{403, `{"errcode":"ORG.EXAMPLE.TEAPOT","error":"tea"}`, 403, "ORG.EXAMPLE.TEAPOT", "tea", false},
		{403, `{"errcode":"M_FORBIDDEN"}`, 403, "M_FORBIDDEN", "the room's policy server refused the invite", false},
		{400, `{"errcode":"M_FORBIDDEN","error":"` + strings.Repeat("x", 600) + `"}`, 400, "M_FORBIDDEN", strings.Repeat("x", 512), false},
		{429, `{"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":2500}`, 429, "M_LIMIT_EXCEEDED", "slow", true},
		// Codes that a client takes to be about its session.
		{401, `{"errcode":"M_UNKNOWN_TOKEN","error":"x","soft_logout":true}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_UNKNOWN_TOKEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{401, `{"errcode":"M_MISSING_TOKEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{401, `{"errcode":"M_UNAUTHORIZED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_UNAUTHORIZED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{401, `{"errcode":"M_FORBIDDEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_USER_DEACTIVATED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_USER_LOCKED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_USER_SUSPENDED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_CONSENT_NOT_GIVEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_SESSION_EXPIRED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_RESOURCE_LIMIT_EXCEEDED","error":"x","admin_contact":"mailto:x"}`, 403, "M_FORBIDDEN", "x", false},
		{400, `{"errcode":"M_USER_LIMIT_EXCEEDED","error":"x","info_uri":"https://x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"ORG_MATRIX_EXPIRED_ACCOUNT","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_TERMS_NOT_SIGNED","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"M_GUEST_ACCESS_FORBIDDEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{404, `{"errcode":"M_UNKNOWN_DEVICE","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `{"errcode":"m_unknown_token","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		// Statuses that say something else to clients and proxies.
		{402, `{"errcode":"M_NOT_FOUND","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{407, `{"errcode":"M_NOT_FOUND","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{408, `{"errcode":"M_NOT_FOUND","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{418, `{"errcode":"ORG.EXAMPLE.TEAPOT","error":"tea"}`, 403, "M_FORBIDDEN", "tea", false},
		{421, `{"errcode":"M_FORBIDDEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{425, `{"errcode":"M_FORBIDDEN","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{499, `{"errcode":"M_NOT_FOUND","error":"x"}`, 403, "M_FORBIDDEN", "x", false},
		{403, `<html>`, 403, "M_FORBIDDEN", "the room's policy server refused the invite", false},
		// No policy server, or none that works.
		{404, `{"errcode":"M_UNRECOGNIZED","error":"x"}`, 502, "M_UNKNOWN", "x", false},
		{405, ``, 502, "M_UNKNOWN", "the room's policy server refused the invite", false},
		{404, `<html>`, 502, "M_UNKNOWN", "the room's policy server refused the invite", false},
		{500, `{"errcode":"M_FORBIDDEN","error":"x"}`, 502, "M_UNKNOWN", "x", true},
		{503, ``, 502, "M_UNKNOWN", "the room's policy server refused the invite", true},
		{307, `{"errcode":"M_FORBIDDEN","error":"x"}`, 502, "M_UNKNOWN", "x", false},
		{204, ``, 502, "M_UNKNOWN", "the room's policy server refused the invite", false},
	} {
		for _, invitee := range []string{bob, "@b:a.ex"} {
			s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", answerJSON(c.status, c.body))
			_, err := s.invite(invitee)
			var failed *fedclient.InviteError
			var policy *fedclient.PolicyError
			var remote *fedclient.RemoteError
			if !errors.As(err, &failed) || !errors.As(err, &policy) || !errors.As(err, &remote) {
				t.Fatalf("%d %s: got %v", c.status, c.body, err)
			}
			if failed.Event == nil || failed.MaybeSeen || policy.Server != "ps.ex" || fedclient.Retryable(err) != c.retryable {
				t.Errorf("%d %s: got %+v", c.status, c.body, failed)
			}
			if s.did("connecting to b.ex")+s.did("policy") > 0 {
				t.Errorf("%d %s: did %q", c.status, c.body, s.record)
			}
			e := told(t, err, c.toldStatus, c.toldCode)
			if e.Message != c.message || e.RetryAfter != 2500*time.Millisecond && c.status == 429 {
				t.Errorf("%d %s: told %+v", c.status, c.body, e)
			}
			body, err := e.MarshalJSON()
			if err != nil || strings.Contains(string(body), "soft_logout") {
				t.Errorf("told %s", body)
			}
		}
	}
}

// The policy server may be the inviter's own server: both key IDs are kept.
func TestScenario60ThePolicyServerIsOurOwn(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		for _, invitee := range []string{bob, "@b:a.ex"} {
			s := newStage(t, version)
			s.usePolicyServer("a.ex", s.signs("a.ex"))
			invited, err := s.invite(invitee)
			if err != nil {
				t.Fatal(version, err)
			}
			s.policySigned(invited.Event, "a.ex")
			// The policy key is in the room, not among the server's keys.
			if err := invited.Event.Verify(t.Context(), s.keys, "a.ex"); err != nil {
				t.Error(err)
			}
			if signatureOf(t, invited.Event, "a.ex", "ed25519:1") == "" {
				t.Errorf("signatures: %s", invited.Event.Signatures())
			}
		}
	}
}

// The invited server's signature stands beside the policy server's, too.
func TestScenario60ThePolicyServerIsTheInvitees(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	invites := s.servers["b.ex"]
	agree := s.signs("b.ex")
	s.usePolicyServer("b.ex", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/policy/") {
			agree(w, r)
			return
		}
		invites.ServeHTTP(w, r)
	})
	invited, err := s.invite(bob)
	if err != nil {
		t.Fatal(err)
	}
	s.policySigned(invited.Event, "b.ex")
	if err := invited.Event.Verify(t.Context(), s.keys, "a.ex", "b.ex"); err != nil {
		t.Error(err)
	}
}

// "For a room to be considered as using a Policy Server, all of the following conditions
// MUST be true".
func TestWhenARoomHasAPolicyServer(t *testing.T) {
	key := base64Of(invitetest.SignerWithKey("ps.ex", "ed25519:policy_server").Public())
	for name, c := range map[string]struct {
		content string
		asked   bool
	}{
		"valid":                        {fmt.Sprintf(`{"via":"ps.ex","public_keys":{"ed25519":%q,"x":1}}`, key), true},
		"an escape in the name":        {fmt.Sprintf(`{"via":"ps\u002eex","public_keys":{"ed25519":%q}}`, key), true},
		"no via":                       {fmt.Sprintf(`{"public_keys":{"ed25519":%q}}`, key), false},
		"a via that is no string":      {fmt.Sprintf(`{"via":["ps.ex"],"public_keys":{"ed25519":%q}}`, key), false},
		"a via of null":                {fmt.Sprintf(`{"via":null,"public_keys":{"ed25519":%q}}`, key), false},
		"a via that is no server name": {fmt.Sprintf(`{"via":"ps.ex/x?","public_keys":{"ed25519":%q}}`, key), false},
		"an empty via":                 {fmt.Sprintf(`{"via":"","public_keys":{"ed25519":%q}}`, key), false},
		"a server that is not joined":  {fmt.Sprintf(`{"via":"qs.ex","public_keys":{"ed25519":%q}}`, key), false},
		"no keys":                      {`{"via":"ps.ex"}`, false},
		"keys in a list":               {fmt.Sprintf(`{"via":"ps.ex","public_keys":[%q]}`, key), false},
		"another algorithm":            {fmt.Sprintf(`{"via":"ps.ex","public_keys":{"rsa":%q}}`, key), false},
		"a key that is no string":      {`{"via":"ps.ex","public_keys":{"ed25519":1}}`, false},
		"a key of null":                {`{"via":"ps.ex","public_keys":{"ed25519":null}}`, false},
		"a key in the wrong place":     {fmt.Sprintf(`{"via":"ps.ex","public_key":%q,"public_keys":{}}`, key), false},
		"nothing":                      {`{}`, false},
		"another state key":            {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", nil)
			s.servers["ps.ex"] = s.signs("ps.ex")
			if c.content == "" {
				s.set("m.room.policy", "", "").set("m.room.policy", "x", fmt.Sprintf(`{"via":"ps.ex","public_keys":{"ed25519":%q}}`, key))
			} else {
				s.set("m.room.policy", "", c.content)
			}
			invited, err := s.invite(bob)
			if err != nil {
				t.Fatal(err)
			}
			if asked := s.did("POST ps.ex") == 1; asked != c.asked || (signatureOf(t, invited.Event, "ps.ex", "ed25519:policy_server") != "") != asked {
				t.Errorf("asked: %v", asked)
			}
			if s.did("joined") > 1 {
				t.Error("Joined was called twice")
			}

		})
	}
}

// An author who forgets Joined must not break a MUST in silence.
func TestARoomWithAPolicyServerNeedsJoined(t *testing.T) {
	key := base64Of(invitetest.SignerWithKey("ps.ex", "ed25519:policy_server").Public())
	for content, want := range map[string]error{
		fmt.Sprintf(`{"via":"ps.ex","public_keys":{"ed25519":%q}}`, key): fedclient.ErrSnapshot,
		`{"via":"ps.ex","public_keys":{"ed25519":"x"}}`:                  fedclient.ErrSnapshot,
		fmt.Sprintf(`{"via":"ps ex","public_keys":{"ed25519":%q}}`, key): nil,
		`{"via":"ps.ex"}`: nil,
		`{}`:              nil,
		``:                nil,
	} {
		for _, invitee := range []string{bob, "@b:a.ex"} {
			s := newStage(t, fedinvite.RoomV11).set("m.room.policy", "", content)
			s.snapshot.Joined = nil
			_, err := s.invite(invitee)
			if want == nil && err != nil {
				t.Errorf("%s: %v", content, err)
			} else if want != nil {
				s.refused(err, want)
				told(t, err, 500, "M_UNKNOWN")
			}
		}
	}
}

// A room whose policy server can sign nothing: nothing is signed by us either.
func TestPolicyServersWithoutAUsableKey(t *testing.T) {
	for _, key := range []string{"", "x", strings.Repeat("A", 43), "/" + strings.Repeat("/", 42), strings.Repeat("A", 42)} {
		s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", nil)
		s.set("m.room.policy", "", fmt.Sprintf(`{"via":"ps.ex","public_keys":{"ed25519":%q}}`, key))
		_, err := s.invite(bob)
		s.refused(err, fedinvite.ErrBadKey)
		var policy *fedclient.PolicyError
		if !errors.As(err, &policy) || policy.Server != "ps.ex" || fedclient.Retryable(err) {
			t.Errorf("%q: got %v", key, err)
		}
		told(t, err, 403, "M_FORBIDDEN")
	}
}

func TestHostilePolicyServers(t *testing.T) {
	var s *stage
	signature := func(body []byte) string { return s.policySignature("ps.ex", body) }
	for name, c := range map[string]struct {
		reply func(event []byte) string
		want  error // nil: the signature is taken
	}{
		"the old refusal":       {func([]byte) string { return `{}` }, fedinvite.ErrSignature},
		"nothing":               {func([]byte) string { return `` }, fedinvite.ErrNotJSON},
		"null":                  {func([]byte) string { return `null` }, fedinvite.ErrSignature},
		"a list":                {func([]byte) string { return `[]` }, fedinvite.ErrSignature},
		"no object for it":      {func([]byte) string { return `{"ps.ex":"x"}` }, fedinvite.ErrSignature},
		"null for it":           {func([]byte) string { return `{"ps.ex":null}` }, fedinvite.ErrSignature},
		"a null signature":      {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":null}}` }, fedinvite.ErrSignature},
		"a number":              {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":1}}` }, fedinvite.ErrSignature},
		"an empty signature":    {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":""}}` }, fedinvite.ErrSignature},
		"a short signature":     {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":"AAAA"}}` }, fedinvite.ErrSignature},
		"no base64":             {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":"!"}}` }, fedinvite.ErrSignature},
		"a signature of zeroes": {func([]byte) string { return `{"ps.ex":{"ed25519:policy_server":"` + strings.Repeat("A", 86) + `"}}` }, fedinvite.ErrSignature},
		"another key ID":        {func(b []byte) string { return `{"ps.ex":{"ed25519:1":"` + signature(b) + `"}}` }, fedinvite.ErrSignature},
		"another server":        {func(b []byte) string { return `{"qs.ex":{"ed25519:policy_server":"` + signature(b) + `"}}` }, fedinvite.ErrSignature},
		"another case":          {func(b []byte) string { return `{"PS.EX":{"ed25519:policy_server":"` + signature(b) + `"}}` }, fedinvite.ErrSignature},
		"a key twice": {func(b []byte) string {
			return `{"ps.ex":{},"ps\u002eex":{"ed25519:policy_server":"` + signature(b) + `"}}`
		}, fedinvite.ErrDuplicateKey},
		"another event's signature": {func([]byte) string {
			other := newStage(t, fedinvite.RoomV11)
			other.roomID = "!other:a.ex"
			return `{"ps.ex":{"ed25519:policy_server":"` + signature(other.event("m.room.name", "", alice, `{}`).AppendJSON(nil)) + `"}}`
		}, fedinvite.ErrSignature},
		"its published key": {func(b []byte) string {
			e, err := fedinvite.ParseEvent(b, s.rules)
			if err == nil {
				e, err = e.WithSignature(t.Context(), invitetest.Signer("ps.ex"))
			}
			if err != nil {
				t.Error(err)
			}
			return `{"ps.ex":{"ed25519:policy_server":"` + signatureOf(t, e, "ps.ex", "ed25519:1") + `"}}`
		}, fedinvite.ErrSignature},
		"a megabyte": {func(b []byte) string {
			return `{"ps.ex":{"ed25519:policy_server":"` + signature(b) + `"},"x":"` + strings.Repeat("x", 1<<20) + `"}`
		}, fedinvite.ErrTooLarge},
		"200 levels": {func([]byte) string { return strings.Repeat(`{"ps.ex":`, 200) + `1` + strings.Repeat(`}`, 200) }, fedinvite.ErrTooDeep},
		"more than was asked for": {func(b []byte) string {
			junk := strings.Repeat("A", 86)
			return `{"a.ex":{"ed25519:1":"` + junk + `"},"c.ex":{"ed25519:1":"` + junk + `"},"x":1.5,"ps.ex":{"ed25519:9":"` + junk +
				`","ed25519:policy_server":"` + signature(b) + `"}}`
		}, nil},
		"padded base64": {func(b []byte) string { return `{"ps.ex":{"ed25519:policy_server":"` + signature(b) + `=="}}` }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s = newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				answerJSON(200, c.reply(body))(w, r)
			})
			invited, err := s.invite(bob)
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				s.policySigned(invited.Event, "ps.ex")
				if err := invited.Event.Verify(t.Context(), s.keys, "a.ex", "b.ex"); err != nil {
					t.Error(err)
				}
				if got := string(invited.Event.Signatures()); strings.Contains(got, "c.ex") || strings.Contains(got, "ed25519:9") || strings.Contains(got, "=") {
					t.Errorf("signatures %s", got)
				}
				return
			}
			var failed *fedclient.InviteError
			var policy *fedclient.PolicyError
			if !errors.As(err, &failed) || failed.MaybeSeen || !errors.As(err, &policy) || !errors.Is(err, fedclient.ErrReply) || !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if s.did("connecting to b.ex") > 0 || fedclient.Retryable(err) {
				t.Errorf("did %q", s.record)
			}
			told(t, err, 502, "M_UNKNOWN")
		})
	}
}

func TestPolicyServersThatCannotBeReached(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", nil)
	delete(s.servers, "ps.ex")
	_, err := s.invite(bob)
	var failed *fedclient.InviteError
	var policy *fedclient.PolicyError
	if !errors.As(err, &failed) || failed.MaybeSeen || !errors.As(err, &policy) || !errors.Is(err, fedclient.ErrUnreachable) || !fedclient.Retryable(err) {
		t.Errorf("got %v", err)
	}
	if e := told(t, err, 502, "M_UNKNOWN"); !strings.Contains(e.Message, "policy server") {
		t.Errorf("told %v", e)
	}
	if s.did("connecting to b.ex") > 0 {
		t.Errorf("did %q", s.record)
	}
}

// The policy server's signature would take the place of ours.
func TestOurOwnKeyMustNotHaveThePolicyServersID(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	s.usePolicyServer("a.ex", s.signs("a.ex"))
	s.config.Signer = keyringOf(invitetest.SignerWithKey("a.ex", "ed25519:policy_server"))
	_, err := s.invite(bob)
	s.refused(err, nil)
	told(t, err, 500, "M_UNKNOWN")

	// And ours that of the policy server.
	s = newStage(t, fedinvite.RoomV11)
	s.usePolicyServer("aa.ex", s.signs("aa.ex"))
	other, err := fedinvite.NewSigner("aa.ex", "ed25519:policy_server", newKey(t, "another"))
	if err != nil {
		t.Fatal(err)
	}
	s.config.Signer = keyringOf(s.signer, other)
	_, err = s.invite("@b:aa.ex")
	s.refused(err, nil)
	told(t, err, 500, "M_UNKNOWN")
	if _, err = s.invite("@b:a.ex"); err != nil { // for whom it does not sign
		t.Error(err)
	}
}

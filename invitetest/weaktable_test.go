package invitetest_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// lacking says what a server must lack to fall for each try of each attack: all of the
// protections together. "" is for the tries of an attack that are not named.
var lacking = map[string]map[string][]string{
	"no-authorization": {
		"":                     {"authorization"},
		"a signature of zeros": {"request signature"},
		"an unknown key":       {"request signature"},
	},
	"claims-origin": {
		"another server, by a key with the ID of its own":    {"key of the origin"},
		"the victim itself, by a key with the ID of its own": {"request signature", "not ourselves", "event signature"},
	},
	"two-origins": {"": {"one origin"}},
	"signed-for-another": {
		"": {"destination"},
		"another destination, which the header does not name":  {"request signature"},
		"another destination, and the header names the victim": {"request signature"},
	},
	"signed-something-else": {"": {"request signature"}},
	"old-request-key":       {"": {"current key"}},
	"path-and-body": {
		"another room":             {"path room"},
		"another event":            {"path event"},
		"no event":                 {"path event"},
		"escaped twice":            {"unescape once"},
		"room and event exchanged": {"path room", "path event"},
	},
	"v1-endpoint": {"": {"v1 is for 1 and 2"}},

	"duplicate-keys": {
		"":                               {"unique keys"},
		"membership, the other one last": {"unique keys, first"},
	},
	"bad-text":  {"": {"text"}},
	"numbers":   {"": {"integers"}},
	"no-number": {"": {"errors are 4xx"}},
	"one-value": {"": {"one value"}},

	"deep-nesting": {"": {"depth"}},
	"large-event":  {"": {"event size"}},
	"large-body":   {"": {"body size"}},
	"many-entries": {"": {"few entries"}},
	"key-requests": {
		"fifty unknown keys of the origin": {"keys are kept"},
		"signatures of another server":     {"only required keys"},
	},

	"sender-elsewhere": {
		"a third-party invite in the name of another server's user": {"sender on origin"},
		"signed by the origin alone":                                {"sender on origin", "sender signs"},
		"signed by the sender's server, sent by the peer":           {"sender on origin", "origin signs"},
		"signed by both":                  {"sender on origin"},
		"in the name of the invited user": {"sender on origin", "sender signs"},
	},
	"not-an-invite": {
		"":                          {"membership"},
		"m.room.power_levels":       {"type"},
		"m.room.create":             {"type"},
		"m.room.join_rules":         {"type"},
		"m.room.third_party_invite": {"type"},
		"m.room.message":            {"type"},
		"a message, no state event": {"type", "state key"},
		"a type in capitals":        {"type"},
		"no state_key":              {"state key"},
	},
	"invitee-elsewhere":  {"": {"invitee here"}},
	"other-spelling":     {"": {"exact names"}},
	"event-id-elsewhere": {"": {"event ID signs"}},
	"authorising-server": {"": {"authorising server signs"}},
	"changed-content":    {"": {"content hash"}},
	"third-party-unsigned": {
		"a user of the origin, signed by another server that it names": {"origin signs"},
		"a user of the origin, signed by nobody":                       {"origin signs"},
		"a user of another server, signed by nobody":                   {"origin signs", "sender on origin"},
	},
	"third-party-forged": {
		"by another server's user, signed by nobody": {"signers of the kept copy", "origin signs", "sender on origin"},
		"by a user of the origin, signed by nobody":  {"signers of the kept copy", "origin signs"},
	},

	"event-signature":     {"": {"event signature"}},
	"one-good-signature":  {"": {"every signature"}},
	"old-event-key":       {"": {"key validity"}},
	"weak-key":            {"": {"sound keys"}},
	"lenient-base64":      {"": {"base64"}},
	"malleable-signature": {"": {"order of the group"}},
	"victims-signature":   {"": {"signature replaced"}},
	"room-state":          {"": {"room state"}},

	"reply-unsigned":            {"": {"reply is signed"}},
	"reply-changed":             {"": {"reply is the event"}},
	"reply-another-event":       {"": {"reply is the event"}},
	"reply-replaces-signatures": {"": {"reply adds one server"}},
	"reply-ambiguous":           {"": {"reply JSON"}},
	"reply-shape":               {"": {"reply shape"}},
	"reply-bomb": {
		"nested thousands deep": {"reply depth"},
		"white space":           {"reply size"},
	},
}

// A stage is a victim that can be another one for each try.
type stage struct {
	invitetest.Target
	now  atomic.Pointer[weak]
	wrap func(http.Handler) http.Handler // what stands before it; nil: nothing
}

func newStage(t *testing.T) *stage {
	peer := invitetest.NewServer(t, attackerName)
	s := &stage{Target: invitetest.Target{Name: victimName, Invitee: victimUser, Peer: peer}}
	peer.Introduce(victimName, invitetest.WithKeys(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var h http.Handler = s.now.Load()
		if s.wrap != nil {
			h = s.wrap(h)
		}
		h.ServeHTTP(w, r)
	}), invitetest.Signer(victimName)))
	return s
}

// try makes one try with a server that lacks protections.
func (s *stage) try(t *testing.T, attack, try string, without ...string) invitetest.Result {
	t.Helper()
	keys, err := keyring.New(keyring.Config{Fetcher: s.Peer.Client(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w := &weak{peer: s.Peer, keys: keys, without: without}
	s.now.Store(w)
	target := s.Target
	target.Invite = w.invite
	return invitetest.Try(t.Context(), target, attack, try)
}

func TestEachTryIsWithstoodOnlyByItsProtection(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for attack, tries := range invitetest.Tries() {
		for _, try := range tries {
			t.Run(attack+"/"+try, func(t *testing.T) {
				row, ok := lacking[attack][try]
				if !ok {
					row, ok = lacking[attack][""]
				}
				if !ok {
					t.Fatal("nothing is said of it")
				}
				if r := s.try(t, attack, try); r.Outcome != invitetest.Passed {
					t.Errorf("the complete server: %v: %s", r.Outcome, r.Detail)
				}
				if r := s.try(t, attack, try, row...); r.Outcome != invitetest.Departed {
					t.Errorf("without %q: %v: %s", row, r.Outcome, r.Detail)
				}
				if len(row) < 2 {
					return
				}
				for i := range row {
					if some := slices.Delete(slices.Clone(row), i, i+1); s.try(t, attack, try, some...).Outcome == invitetest.Departed {
						t.Errorf("%q would do", some)
					}
				}
			})
		}
	}
}

func TestEachRowIsOfAnAttackAndEachProtectionIsUsed(t *testing.T) {
	used := map[string]bool{}
	for attack, rows := range lacking {
		for try, row := range rows {
			if tries := invitetest.Tries()[attack]; try != "" && !slices.Contains(tries, try) {
				t.Errorf("there is no %q in %q", try, attack)
			}
			for _, protection := range row {
				used[protection] = true
			}
		}
	}
	for _, protection := range protections {
		if !used[protection] {
			t.Errorf("no try needs %q", protection)
		}
	}
}

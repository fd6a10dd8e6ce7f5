package invitetest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

const (
	soon     = 300 * time.Millisecond // what is short of the time that something takes that must not be waited for
	patience = 2 * time.Second        // how long a judge waits for a victim that should be done soon
	ample    = 20 * time.Second       // for what takes no time, on a machine that is busy
)

// An outcome is what a server says that became of an invite that its user made.
type outcome struct {
	event     *fedinvite.Event
	maybeSeen bool // the invited server may have seen it, though there is an error
	err       error
}

// A victim is the server mine.example, which invites @bob:peer.example into a room.
type victim interface {
	invite(ctx context.Context, room *invitetest.Room) outcome
	hurry() // it has little time from now on
}

// A case of the court is the victim's peer and the time.
type courtCase struct {
	peer *invitetest.Server
	mu   sync.Mutex
	now  time.Time
}

func newCase(t *testing.T) *courtCase {
	c := &courtCase{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.peer = invitetest.NewServer(t, "peer.example", func(s *invitetest.ServerConfig) { s.Now = c.clock })
	c.peer.Introduce("mine.example", publisher(c.clock))
	return c
}

// publisher publishes the victim's keys, by its clock.
func publisher(now func() time.Time) http.Handler {
	h, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: keyring.Signers(invitetest.Signer("mine.example")), Now: now})
	if err != nil {
		panic(err)
	}
	return h
}

func (c *courtCase) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *courtCase) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *courtCase) room(version fedinvite.RoomVersion) *invitetest.Room {
	return invitetest.RoomConfig{Version: version, Creator: "@alice:mine.example", Now: c.clock}.New()
}

// judge says how the victim departs from what is expected of one that meets the fault; ""
// if it does not.
func (c *courtCase) judge(f invitetest.Fault, v victim) string {
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	if o := v.invite(ctx, c.room("11")); o.err != nil {
		return "invites to a server that is well fail: " + o.err.Error()
	}
	before := len(c.peer.Requests())
	c.peer.Break(f)
	c.pass(time.Minute) // now keys may be asked for again
	if f == invitetest.KeyExpired {
		c.pass(48 * time.Hour) // what was promised before has run out
	}
	version := fedinvite.RoomVersion("11")
	switch f {
	case invitetest.OnlyV1:
		version = "1"
	case invitetest.Slow, invitetest.Internal: // the latter has a pause before it is asked again
		v.hurry()
	}
	if f == invitetest.Slow {
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	o := v.invite(ctx, c.room(version))
	verdict := c.verdict(ctx, f, v, o, before)
	if verdict == "" && ctx.Err() != nil {
		return "it waited too long"
	}
	return verdict
}

func (c *courtCase) verdict(ctx context.Context, f invitetest.Fault, v victim, o outcome, before int) string {
	failed := o.err != nil && o.event == nil
	switch f {
	case invitetest.OnlyV1:
		if o.err != nil {
			return "it does not invite by the v1 endpoint: " + o.err.Error()
		}
		seen := len(c.peer.Requests())
		if o := v.invite(ctx, c.room("11")); o.err == nil || len(c.peer.Requests()) != seen+1 {
			return "it invites by the v1 endpoint into a room of version 11"
		}
		return ""
	case invitetest.KeyRotated:
		if o.err != nil {
			return "it does not believe the new key: " + o.err.Error()
		}
		if !strings.Contains(string(o.event.Signatures()), `"ed25519:2"`) {
			return "the new key did not sign"
		}
		return ""
	}
	if !failed {
		return "it takes the invite for accepted"
	}
	switch f {
	case invitetest.Slow, invitetest.Cut, invitetest.ContentType, invitetest.Huge:
		if !o.maybeSeen {
			return "it says that nobody has seen the invite"
		}
	case invitetest.Overloaded:
		if n := len(c.peer.Requests()) - before; n != 1 {
			return fmt.Sprintf("it asked %d times at once", n)
		}
	case invitetest.Redirect:
		for _, seen := range append(c.peer.Requests(), c.peer.KeyRequests()...) {
			if seen.Host != "peer.example" {
				return "it followed"
			}
		}
	}
	if f == invitetest.Huge {
		c.peer.Close() // now all that was sent was sent
		if seen := c.peer.Requests(); !seen[len(seen)-1].HungUp {
			return "it read all"
		}
	}
	return ""
}

// ours is a victim that is made of this module.
type ours struct {
	client, hurried *fedclient.Client
	keys            *keyring.Ring
	now             func() time.Time
}

func newOurs(t *testing.T, c *courtCase, keyTimeout time.Duration) *ours {
	t.Helper()
	o := &ours{client: newOurClient(t, c, ample, keyTimeout), hurried: newOurClient(t, c, soon, keyTimeout), now: c.clock}
	var err error
	o.keys, err = keyring.New(keyring.Config{Fetcher: o.client, Now: c.clock, Local: keyring.Signers(invitetest.Signer("mine.example"))})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func newOurClient(t *testing.T, c *courtCase, timeout, keyTimeout time.Duration) *fedclient.Client {
	t.Helper()
	// An overloaded server wants 5 s: more than is left for another attempt.
	client, err := fedclient.New(fedclient.Config{
		UserAgent: "mine/1", Transport: c.peer.Transport(), Timeout: min(timeout, 4*time.Second), KeyTimeout: keyTimeout, Now: c.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (o *ours) hurry() { o.client = o.hurried }

func (o *ours) invite(ctx context.Context, room *invitetest.Room) outcome {
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: o.client, Keys: o.keys, Room: room, Now: o.now,
		Signer: keyring.Signers(invitetest.Signer("mine.example")).Signer,
	})
	if err != nil {
		return outcome{err: err}
	}
	invited, err := inviter.Invite(ctx, fedclient.Invitation{RoomID: room.ID(), Sender: room.Creator(), Invitee: "@bob:peer.example"})
	if failed := new(fedclient.InviteError); errors.As(err, &failed) {
		return outcome{maybeSeen: failed.MaybeSeen, err: err}
	}
	return outcome{event: invited.Event}
}

// Which senderProtections of a plain sender each fault is about: without them it does not meet it.
var senderProtections = map[invitetest.Fault][]string{
	invitetest.Slow:        {"timeout", "doubt"},
	invitetest.Cut:         {"end", "doubt"},
	invitetest.Internal:    {"status"},
	invitetest.Overloaded:  {"pause"},
	invitetest.Redirect:    {"stay"},
	invitetest.ContentType: {"type", "doubt"},
	invitetest.Huge:        {"limit", "hang up", "doubt"},
	invitetest.OnlyV1:      {"fallback", "room version"},
	invitetest.KeyRotated:  {"ask again"},
	invitetest.KeyExpired:  {"valid until"},
}

func TestServersMeetFaultsAsExpected(t *testing.T) {
	t.Parallel()
	for _, f := range invitetest.Faults() {
		if len(senderProtections[f]) == 0 {
			t.Errorf("%s: no weakened sender proves it", f)
		}
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			c := newCase(t)
			if verdict := c.judge(f, newOurs(t, c, ample)); verdict != "" {
				t.Errorf("expected: it %s; but %s", f.Expect(), verdict)
			}
		})
		t.Run(f.String()+"/plain sender", func(t *testing.T) {
			t.Parallel()
			c := newCase(t)
			if verdict := c.judge(f, newPlainSender(c, "")); verdict != "" {
				t.Error(verdict)
			}
		})
		for _, without := range senderProtections[f] {
			t.Run(f.String()+"/without "+without, func(t *testing.T) {
				t.Parallel()
				c := newCase(t)
				verdict := c.judge(f, newPlainSender(c, without))
				if verdict == "" || strings.HasPrefix(verdict, "invites to a server that is well") {
					t.Errorf("the weakened sender is not found out: %q", verdict)
				}
			})
		}
	}
}

func TestMendEndsFaults(t *testing.T) {
	for _, f := range invitetest.Faults() {
		c := newCase(t)
		c.peer.Break(f)
		c.peer.Mend()
		if o := newOurs(t, c, ample).invite(t.Context(), c.room("11")); o.err != nil {
			t.Errorf("%s: %v", f, o.err)
		}
	}
}

func TestFaultsHaveNamesAndExpectations(t *testing.T) {
	names := map[string]bool{}
	for _, f := range invitetest.Faults() {
		if names[f.String()] || f.String() == "" || f.Expect() == "" {
			t.Errorf("%q: %q", f, f.Expect())
		}
		names[f.String()] = true
	}
	if len(names) != 10 || invitetest.Fault(0).String() != "Fault(0)" || invitetest.Fault(11).Expect() != "" {
		t.Error(names, invitetest.Fault(0))
	}
}

func TestAFaultOfSomePathsIsNotOneOfOthers(t *testing.T) {
	c := newCase(t)
	c.peer.Break(invitetest.Internal, "/_matrix/federation/v1/send/")
	c.peer.Break(invitetest.Slow, "/_matrix/federation/v1/", "/_matrix/federation/v3/")
	if o := newOurs(t, c, ample).invite(t.Context(), c.room("11")); o.err != nil {
		t.Error(o.err)
	}
	c.peer.Break(invitetest.Internal, "/_matrix/key/")
	if _, err := c.peer.Client().FetchServerKeys(t.Context(), "peer.example"); !isRemote(err, 500) {
		t.Error(err)
	}
	c.peer.Break(invitetest.Overloaded)
	_, err := c.peer.Client().FetchServerKeys(t.Context(), "peer.example")
	remote := new(fedclient.RemoteError)
	if !errors.As(err, &remote) || remote.Status != 429 || remote.Code != fedinvite.CodeLimitExceeded || remote.RetryAfter != 5*time.Second {
		t.Error(err)
	}
}

func isRemote(err error, status int) bool {
	remote := new(fedclient.RemoteError)
	return errors.As(err, &remote) && remote.Status == status
}

// What a server does that gets an invite from one whose keys it cannot have.
func TestAReceiverMeetsFaultsOfKeys(t *testing.T) {
	t.Parallel()
	for f, want := range map[invitetest.Fault]int{
		invitetest.Slow: 503, invitetest.Cut: 503, invitetest.Internal: 503, invitetest.Overloaded: 503, invitetest.Redirect: 503,
		invitetest.ContentType: 503, invitetest.Huge: 503, invitetest.OnlyV1: 200, invitetest.KeyRotated: 200, invitetest.KeyExpired: 401,
	} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			c := newCase(t)
			keyTimeout := ample
			if f == invitetest.Slow {
				keyTimeout = soon
			}
			ring := newOurs(t, c, keyTimeout).keys
			handler := fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil })
			c.peer.IntroduceHandler("mine.example", handler, withRing(ring, c.clock))
			c.peer.Break(f)
			_, err := c.peer.Invite(t.Context(), c.peer.NewRoom("11", "@alice:peer.example"), "@bob:mine.example")
			if want == 200 && err != nil || want != 200 && !isRemote(err, want) {
				t.Errorf("got %v, want status %d", err, want)
			}
		})
	}
}

func TestKeysAreRotatedOnAndOn(t *testing.T) {
	c := newCase(t)
	o := newOurs(t, c, ample)
	for i := 2; i < 5; i++ {
		old := c.peer.Signer()
		signer := c.peer.RotateKey()
		if want := fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i)); signer.KeyID() != want || c.peer.Signer() != signer {
			t.Errorf("%s, want %s", signer.KeyID(), want)
		}
		given := c.clock()
		c.pass(time.Hour)
		if key, err := o.keys.VerifyKey(t.Context(), "peer.example", signer.KeyID(), c.clock()); err != nil || !key.ValidAt(c.clock()) {
			t.Error(key, err)
		}
		if key, err := o.keys.VerifyKey(t.Context(), "peer.example", old.KeyID(), given); err != nil || !key.ExpiredAt.Equal(given) {
			t.Error("the old key:", key, err)
		}
	}
}

func TestWhoeverHangsUpIsSeenToHave(t *testing.T) {
	peer := invitetest.NewServer(t, "")
	peer.Break(invitetest.Slow)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: peer.Network().Roots()}, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(peer.Name())+"/_matrix/federation/v1/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := len(peer.Requests())
		go func() {
			for len(peer.Requests()) == seen {
				runtime.Gosched()
			}
			cancel()
		}()
		if _, err := transport.RoundTrip(req); !errors.Is(err, context.Canceled) {
			t.Error(protocol, err)
		}
		for !peer.Requests()[seen].HungUp && t.Context().Err() == nil {
			runtime.Gosched()
		}
	}
}

// Else nobody would be harmed by following.
func TestTheTargetOfARedirectGivesTheRightAnswer(t *testing.T) {
	c := newCase(t)
	c.peer.Break(invitetest.Redirect)
	room := c.room("11")
	q := room.Request(room.Invite("@bob:peer.example").AppendJSON(nil), "peer.example")
	res, err := (&http.Client{Transport: c.peer.Transport()}).Do(q.HTTP(t.Context(), "https://peer.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || len(c.peer.Invites()) != 1 || len(c.peer.Requests()) != 2 {
		t.Errorf("%s, %d invites, %d requests", res.Status, len(c.peer.Invites()), len(c.peer.Requests()))
	}
}

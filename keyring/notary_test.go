package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func testNotary(t testing.TB) fedinvite.Signer {
	return invitetest.SignerWithKey("notary.ex", "ed25519:n")
}

func TestANotaryIsAskedForAServerThatCannotBeHad(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	for name, direct := range map[string][]byte{
		"down":           nil,
		"a bad document": []byte("<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			s.net.publish("a.ex", direct)
			o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
			s.current(a)
			s.current(a)
			s.fetched("a.ex", 1)
			want := []query{{"a.ex": {"ed25519:1": start.UnixMilli()}}}
			if diff := cmp.Diff(want, o.queries("notary.ex")); diff != "" {
				t.Errorf("the notary was asked -want +got\n%s", diff)
			}
			s.reported("", 0, nil)
		})
	}
}

func TestAnEventOfAnyTimeNeedsNoValidCopy(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n))
	o.tell(n, documentOf("a.ex", start.Add(-900*day), a).signed(t, a))
	key, err := s.ring.VerifyKey(t.Context(), "a.ex", "ed25519:1", time.Time{})
	if err != nil || !key.ValidUntil.Equal(start.Add(-900*day)) {
		t.Errorf("got %+v, %v", key, err)
	}
	if diff := cmp.Diff([]query{{"a.ex": {"ed25519:1": 0}}}, o.queries("notary.ex")); diff != "" {
		t.Errorf("the notary was asked -want +got\n%s", diff)
	}
}

func TestNoNotaryIsAskedWhenTheServerAnswers(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n))
	s.publishKeys(a)
	s.current(a)
	s.pass(time.Minute)
	s.unknown("a.ex", "ed25519:2")
	s.fetched("a.ex", 2)
	if q := o.queries("notary.ex"); len(q) != 0 {
		t.Errorf("the notary was asked %v", q)
	}
}

// A server need not list keys that it has given up; a notary may have seen them.
func TestANotaryIsAskedForAKeyOfOldEventsThatTheServerListsNoLonger(t *testing.T) {
	a, old, n := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n))
	s.publishKeys(a)
	o.tell(n, documentOf("a.ex", start.Add(-100*day), old).signed(t, old))
	key, err := s.ring.VerifyKey(t.Context(), "a.ex", "ed25519:0", start.Add(-200*day))
	if err != nil || !key.ValidAt(start.Add(-200*day)) || key.ValidAt(start) {
		t.Errorf("got %+v, %v", key, err)
	}
	s.current(a)
	s.fetched("a.ex", 1)
}

// The notary has an old copy only: for a request the server itself is asked, for old
// events the copy serves.
func TestPlumbing42StaleNotaryAnswerIsFollowedByADirectFetch(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	stale := documentOf("a.ex", start.Add(-day), a).signed(t, a)

	t.Run("the server answers", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		o.tell(n, stale)
		s.publishKeys(a)
		s.current(a)
		s.fetched("a.ex", 1)
		if len(o.queries("notary.ex")) != 1 {
			t.Error("the notary was not asked once")
		}
	})
	t.Run("the server is gone", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		o.tell(n, stale)
		key, err := s.key("a.ex", "ed25519:1")
		if err != nil || key.ValidAt(start) || !key.ValidAt(start.Add(-day)) {
			t.Errorf("got %+v, %v, want the old copy", key, err)
		}
		s.fetched("a.ex", 1)
		s.outage("a.ex", "ed25519:2")
	})
	t.Run("another key than the one wanted", func(t *testing.T) {
		b := invitetest.SignerWithKey("a.ex", "ed25519:2")
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
		s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, b).signed(t, a, b))
		s.current(b)
		s.fetched("a.ex", 1)
	})
	t.Run("no document at all", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		o.tell(n)
		s.publishKeys(a)
		s.current(a)
		s.fetched("a.ex", 1)
		s.reported("", 0, nil)
	})
}

// What a notary does not know is not the server's word.
func TestANotaryAnswerForOneKeyIsNoAnswerForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2"), invitetest.SignerWithKey("a.ex", "ed25519:3")
		n, o := testNotary(t), newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, b, c).signed(t, a, b, c))
		answer := notarized(t, n, documentOf("a.ex", start.Add(day), a).signed(t, a))
		land := make(chan struct{})
		o.answer = func(context.Context, fedinvite.ServerName, query) ([]byte, error) {
			<-land
			return answer, nil
		}
		var both sync.WaitGroup
		both.Go(func() { s.current(a) })
		synctest.Wait()
		both.Go(func() { s.current(b) }) // waits for the flight of the other
		synctest.Wait()
		close(land)
		both.Wait()
		s.current(c)
		s.fetched("a.ex", 1)
		if n := len(o.queries("notary.ex")); n != 2 {
			t.Errorf("the notary was asked %d times", n)
		}
	})
}

func TestAKeyThatTheNotaryDoesNotKnowIsAskedForWithoutAPause(t *testing.T) {
	a, b, n := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n), notariesFirst)
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, b).signed(t, a, b))
	o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.current(a)
	s.current(b)
	s.unknown("a.ex", "ed25519:3")
	s.fetched("a.ex", 1)
}

func TestNotariesFirstSpareTheServer(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n), notariesFirst)
	s.publishKeys(a)
	o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.current(a)
	s.fetched("a.ex", 0)
}

func TestPlumbing43NotaryAnswerWithoutPinnedSignature(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	document := documentOf("a.ex", start.Add(day), a).signed(t, a)
	forger, err := fedinvite.NewSigner("notary.ex", "ed25519:n", ed25519Key("forger"))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(s fedinvite.Signer) []byte { return notarized(t, s, document) }
	spoil := func(old, new string) []byte { return bytes.Replace(sign(n), []byte(old), []byte(new), 1) }
	for name, answer := range map[string][]byte{
		"none":                        answerOf(document),
		"none, twice":                 answerOf(document, document),
		"of another key":              sign(forger),
		"under another key ID":        sign(invitetest.SignerWithKey("notary.ex", "ed25519:m")),
		"of another server":           sign(invitetest.SignerWithKey("b.ex", "ed25519:n")),
		"of three bytes":              answerOf(bytes.Replace(document, []byte(`"signatures":{`), []byte(`"signatures":{"notary.ex":{"ed25519:n":"AAAA"},`), 1)),
		"that is no string":           answerOf(bytes.Replace(document, []byte(`"signatures":{`), []byte(`"signatures":{"notary.ex":{"ed25519:n":7},`), 1)),
		"of a document changed since": spoil(`"valid_until_ts":17`, `"valid_until_ts":18`),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			o.returns["notary.ex"] = answer
			s.outage("a.ex", "ed25519:1")
			s.reported("a.ex", 1, fedinvite.ErrSignature)
			if len(o.queries("notary.ex")) != 1 {
				t.Error("the notary was not asked once")
			}
		})
	}
	t.Run("the pinned one beside others", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n))
		signed, err := fedinvite.SignJSON(t.Context(), document, invitetest.SignerWithKey("notary.ex", "ed25519:m"))
		if err != nil {
			t.Fatal(err)
		}
		o.tell(n, signed)
		s.current(a)
	})
}

// What a notary returns passes the same checks as what the server itself returns.
func TestNotarizedDocumentsAreChecked(t *testing.T) {
	a, b, n := invitetest.Signer("a.ex"), invitetest.Signer("b.ex"), testNotary(t)
	forged, err := fedinvite.NewSigner("a.ex", "ed25519:1", ed25519Key("evil"))
	if err != nil {
		t.Fatal(err)
	}
	good := documentOf("a.ex", start.Add(day), a)
	large := documentOf("a.ex", start.Add(day), a).with("x", strings.Repeat("x", 256<<10)).signed(t, a)
	for name, c := range map[string]struct {
		document []byte
		about    fedinvite.ServerName
		fault    error
	}{
		"not signed by its keys":       {good.signed(t), "a.ex", fedinvite.ErrSignature},
		"signed by an unlisted key":    {good.signed(t, forged), "a.ex", fedinvite.ErrSignature},
		"of a server not asked for":    {documentOf("b.ex", start.Add(day), b).signed(t, b), "a.ex", fedinvite.ErrMismatch},
		"of a name in other letters":   {documentOf("A.ex", start.Add(day), a).signed(t, a), "a.ex", fedinvite.ErrMismatch},
		"without valid_until_ts":       {document{"server_name": "a.ex", "verify_keys": map[string]any{}}.signed(t, a), "a.ex", fedinvite.ErrBadJSON},
		"of more than 256 KiB":         {large, "a.ex", fedinvite.ErrTooLarge},
		"whose server_name is a list":  {document{"server_name": []string{"a.ex"}}.signed(t, a), "a.ex", fedinvite.ErrMismatch},
		"whose server_name is Server_": {document{"Server_Name": "a.ex"}.signed(t, a), "a.ex", fedinvite.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			o.tell(n, c.document)
			s.outage("a.ex", "ed25519:1")
			s.reported(c.about, 1, c.fault)
			o.tell(n)
			s.outage("b.ex", "ed25519:1") // nothing came in by the side door
		})
	}
}

func TestMalformedNotaryAnswers(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	good := notarized(t, n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	element := good[len(`{"server_keys":[`) : len(good)-len("]}")]
	many := func(n int) []byte { return answerOf(slices.Repeat([][]byte{element}, n)...) }
	filled := func(n int) []byte { return append(bytes.Repeat([]byte(" "), n-len(good)), good...) }
	for name, answer := range map[string][]byte{
		"nothing":                 []byte(""),
		"HTML":                    []byte("<html>"),
		"null":                    []byte("null"),
		"an array":                []byte("[]"),
		"no server_keys":          []byte("{}"),
		"server_keys null":        []byte(`{"server_keys":null}`),
		"server_keys an object":   []byte(`{"server_keys":{}}`),
		"Server_Keys":             bytes.Replace(good, []byte("server_keys"), []byte("Server_Keys"), 1),
		"server_keys twice":       bytes.Replace(good, []byte("{"), []byte(`{"server_keys":[],`), 1),
		"trailing data":           append(slices.Clone(good), '{', '}'),
		"a lone surrogate":        bytes.Replace(good, []byte("{"), []byte(`{"x":"\ud800",`), 1),
		"too deep":                bytes.Replace(good, []byte("{"), []byte(`{"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+","), 1),
		"129 documents":           many(129),
		"an unfinished array":     good[:len(good)-2],
		"an array of another end": append(slices.Clone(good[:len(good)-2]), "}}"...),
		"an empty element":        []byte(`{"server_keys":[,]}`),
		"server_keys in an array": []byte(`["server_keys",[]]`),
		"a string without end":    []byte(`{"server_keys":["`),
		"more than 4 MiB":         filled(4<<20 + 1),
		"a document of a number":  []byte(`{"server_keys":[7]}`),
		"a document of null":      []byte(`{"server_keys":[null]}`),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			o.returns["notary.ex"] = answer
			s.outage("a.ex", "ed25519:1")
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.reports) != 1 || s.reports[0].server != "a.ex" {
				t.Errorf("reported: %v", s.reports)
			}
		})
	}
	for name, answer := range map[string][]byte{
		"64 times the same": many(64),
		"exactly 4 MiB":     filled(4 << 20),
		"server_keys below": bytes.Replace(good, []byte("{"), []byte(`{"x":{"server_keys":[7]},"y":"server_keys","z":[[7]],`), 1),
		"spaces":            bytes.Replace(good, []byte(`{"server_keys":[`), []byte("\n{ \"server_keys\" :\t[ "), 1),
		"unknown members":   bytes.Replace(good, []byte("{"), []byte(`{"x":7,`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			o.returns["notary.ex"] = answer
			s.current(a)
			s.reported("", 0, nil)
		})
	}
}

// A notary may have a document for each key. They come in any order, and may be there
// twice.
func TestSeveralNotarizedDocumentsOfOneServer(t *testing.T) {
	n := testNotary(t)
	now, old, older := invitetest.SignerWithKey("a.ex", "ed25519:3"), invitetest.SignerWithKey("a.ex", "ed25519:2"), invitetest.Signer("a.ex")
	first := documentOf("a.ex", start.Add(-90*day), older).signed(t, older)
	second := documentOf("a.ex", start.Add(-day), old).with("old_verify_keys", map[string]any{"ed25519:1": expired(older, start.Add(-95*day))}).signed(t, old)
	third := documentOf("a.ex", start.Add(day), now).signed(t, now)
	bad := documentOf("a.ex", start.Add(day), now).signed(t)
	for i, documents := range [][][]byte{
		{first, second, third}, {third, second, first}, {second, third, first}, {second, first, third, second, first}, {bad, third, first, second},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n))
			o.tell(n, documents...)
			s.current(now)
			for _, want := range []struct {
				id  fedinvite.KeyID
				end time.Time
			}{{"ed25519:2", start.Add(-day)}, {"ed25519:1", start.Add(-95 * day)}} {
				key, err := s.ring.VerifyKey(t.Context(), "a.ex", want.id, want.end)
				if err != nil || !key.ValidAt(want.end) || key.ValidAt(want.end.Add(time.Millisecond)) {
					t.Errorf("%s: got %+v, %v", want.id, key, err)
				}
			}
			if len(o.queries("notary.ex")) != 1 {
				t.Error("the notary was not asked once")
			}
		})
	}
}

func TestANotaryCannotOutweighTheServer(t *testing.T) {
	n := testNotary(t)
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	t.Run("other bytes", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n))
		s.net.publish("a.ex", documentOf("a.ex", start.Add(time.Hour), a).signed(t, a))
		s.current(a)
		s.net.publish("a.ex", nil)
		forged, err := fedinvite.NewSigner("a.ex", "ed25519:1", ed25519Key("evil"))
		if err != nil {
			t.Fatal(err)
		}
		o.tell(n, documentOf("a.ex", start.Add(7*day), forged).signed(t, forged))
		s.pass(2 * time.Hour)
		key, err := s.key("a.ex", "ed25519:1")
		if err != nil || !key.Public.Equal(a.Public()) || !key.ValidUntil.Equal(start.Add(time.Hour)) {
			t.Errorf("got %+v, %v", key, err)
		}
		s.reported("a.ex", 1, fedinvite.ErrMismatch)
	})
	t.Run("an expiry", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n))
		s.net.publish("a.ex", documentOf("a.ex", start.Add(time.Hour), b).with("old_verify_keys", map[string]any{"ed25519:1": expired(a, start)}).signed(t, b))
		s.current(b)
		s.net.publish("a.ex", nil)
		s.pass(2 * time.Hour)
		o.tell(n, documentOf("a.ex", start.Add(day), a, b).signed(t, a, b))
		s.current(b) // its validity is a notary's to tell
		if key, err := s.key("a.ex", "ed25519:1"); err != nil || !key.ExpiredAt.Equal(start) {
			t.Errorf("got %+v, %v", key, err)
		}
	})
	t.Run("but the server outweighs it", func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n), notariesFirst)
		wrong, err := fedinvite.NewSigner("a.ex", "ed25519:1", ed25519Key("old"))
		if err != nil {
			t.Fatal(err)
		}
		o.tell(n, documentOf("a.ex", start.Add(time.Hour), b).with("old_verify_keys", map[string]any{"ed25519:1": expired(wrong, start.Add(-day))}).signed(t, b))
		s.publishKeys(a)
		s.current(a) // that it is old is not the server's word
		s.fetched("a.ex", 1)
	})
}

func TestNotariesAreAskedOneAfterAnother(t *testing.T) {
	a := invitetest.Signer("a.ex")
	n := make([]fedinvite.Signer, 5)
	for i := range n {
		n[i] = invitetest.SignerWithKey(fedinvite.ServerName(fmt.Sprintf("n%d.ex", i)), "ed25519:n")
	}
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n[1:]...))
	o.tell(n[2], documentOf("a.ex", start.Add(-day), a).signed(t, a))
	o.tell(n[3], documentOf("a.ex", start.Add(day), a).signed(t, a))
	o.tell(n[4], documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.current(a)
	s.reported("a.ex", 1, errDown) // of the first
	for name, want := range map[fedinvite.ServerName]int{"n1.ex": 1, "n2.ex": 1, "n3.ex": 1, "n4.ex": 0} {
		if got := len(o.queries(name)); got != want {
			t.Errorf("%s was asked %d times, want %d", name, got, want)
		}
	}
}

// A notary that is down must not cost every look-up its time.
func TestANotaryThatFailsIsLeftAlone(t *testing.T) {
	o := newOffice(t)
	s := newScene(t, withNotaries(o, testNotary(t)))
	ask := func(i, want int) {
		t.Helper()
		s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1")
		if got := len(o.queries("notary.ex")); got != want {
			t.Errorf("the notary was asked %d times, want %d", got, want)
		}
	}
	ask(0, 1)
	ask(1, 2)
	ask(2, 3) // the third in a row
	asked := 3
	for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 2 * time.Minute} {
		ask(10*asked, asked)
		s.pass(pause - 1)
		ask(10*asked+1, asked)
		s.pass(1)
		asked++
		ask(10*asked+2, asked)
	}
	s.mu.Lock()
	s.reports = nil
	s.mu.Unlock()
	s.pass(2 * time.Minute)
	o.tell(testNotary(t))
	ask(3, 8)
	ask(4, 9)
	s.reported("", 0, nil)
	o.returns = nil
	ask(5, 10)
	ask(6, 11)
	ask(7, 12)
	s.pass(30 * time.Second)
	ask(8, 13) // it starts from the shortest pause again
}

// A stranger's servers that take their time make a notary slow for questions about them;
// others need it.
func TestSlowServersOfOneDomainDoNotTurnANotaryOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, n, o := invitetest.Signer("a.ex"), testNotary(t), newOffice(t)
		s := newScene(t, withNotaries(o, n))
		answer := notarized(t, n, documentOf("a.ex", start.Add(7*day), a).signed(t, a))
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
			if _, ok := q["a.ex"]; ok {
				return answer, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for i := range 10 {
			s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.evil.ex", i)), "ed25519:1")
		}
		s.current(a)
	})
}

// While a notary is down one question at a time tries it, not all that come.
func TestOneQuestionTriesANotaryThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, testNotary(t)))
		for i := range 3 {
			s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1")
		}
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, _ query) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.pass(30 * time.Second)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { s.outage(fedinvite.ServerName(fmt.Sprintf("t%d.ex", i)), "ed25519:1") })
		}
		all.Wait()
		if q := o.queries("notary.ex"); len(q) != 4 {
			t.Errorf("%d questions", len(q))
		}
	})
}

// What one server publishes must not spoil the documents of others, nor the notary.
func TestABadDocumentSpoilsNoOther(t *testing.T) {
	a, b, n := invitetest.Signer("a.ex"), invitetest.Signer("b.ex"), testNotary(t)
	signed := func(a fedinvite.Signer) []byte {
		d, err := fedinvite.SignJSON(t.Context(), documentOf(a.ServerName(), start.Add(day), a).signed(t, a), n)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	hostile := func(member string) []byte {
		return []byte(`{"server_name":"evil.ex","verify_keys":{},"valid_until_ts":1,` + member + `}`)
	}
	for name, bad := range map[string][]byte{
		"nested":           hostile(`"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200)),
		"a lone surrogate": hostile(`"x":"\ud800"`),
		"a key twice":      hostile(`"verify_keys":{}`),
		"a large number":   hostile(`"x":1e400`),
		"bad UTF-8":        hostile("\"x\":\"\xff\""),
		"brackets":         hostile(`"x":"]}],[{\"\\"`),
		"a number":         []byte("7"),
		"nothing":          []byte(""),
		"large":            hostile(`"x":"` + strings.Repeat("x", 256<<10) + `"`),
		"many":             bytes.Join(slices.Repeat([][]byte{hostile(`"x":7`)}, 100), []byte(",")),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			s := newScene(t, withNotaries(o, n), notariesFirst)
			o.returns["notary.ex"] = answerOf(signed(a), bad, signed(b))
			if errs := serverErrors(t, s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex", "evil.ex", "b.ex"})); len(errs) != 1 || errs["evil.ex"] == nil {
				t.Errorf("got %v", errs)
			}
			s.current(a)
			s.current(b)
			s.fetched("a.ex", 0)
			if len(s.reports) != 1 {
				t.Errorf("reported: %v", s.reports)
			}
		})
	}
}

func TestAnAnswerThatIsTooLargeIsAskedForInTwo(t *testing.T) {
	for name, refuse := range map[string]bool{"by the ring": false, "by the NotaryFetcher": true} {
		t.Run(name, func(t *testing.T) {
			n, o := testNotary(t), newOffice(t)
			s := newScene(t, withNotaries(o, n), notariesFirst)
			documents := map[fedinvite.ServerName][]byte{}
			signers := append(signersOf(t, "large", 20), signersOf(t, "s", 80)...)
			for i, a := range signers {
				d := documentOf(a.ServerName(), start.Add(day), a)
				if i < 20 {
					d.with("x", strings.Repeat("x", 255<<10))
				}
				documents[a.ServerName()] = d.signed(t, a)
			}
			o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
				var some [][]byte
				for server := range q {
					some = append(some, documents[server])
				}
				answer := notarized(t, n, some...)
				if refuse && len(answer) > 4<<20 {
					return nil, fmt.Errorf("no: %w", fedinvite.ErrTooLarge)
				}
				return answer, nil
			}
			if err := s.ring.Prefetch(t.Context(), namesOf(signers...)); err != nil {
				t.Error(err)
			}
			for _, a := range signers {
				s.fetched(a.ServerName(), 0)
			}
			s.reported("", 3, fedinvite.ErrTooLarge) // of the whole, a half and a quarter
		})
	}
}

// One server is too large for any answer; the other 99 are had in at most 16 questions.
func TestAServerWhoseDocumentsFillAnAnswer(t *testing.T) {
	n, o := testNotary(t), newOffice(t)
	s := newScene(t, withNotaries(o, n), notariesFirst)
	documents := map[fedinvite.ServerName][]byte{}
	signers := signersOf(t, "s", 99)
	for _, a := range signers {
		documents[a.ServerName()] = documentOf(a.ServerName(), start.Add(day), a).signed(t, a)
	}
	o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
		var some [][]byte
		for server := range q {
			if documents[server] == nil {
				return nil, fedinvite.ErrTooLarge
			}
			some = append(some, documents[server])
		}
		return notarized(t, n, some...), nil
	}
	names := slices.Insert(namesOf(signers...), 70, "evil.ex")
	if errs := serverErrors(t, s.ring.Prefetch(t.Context(), names)); len(errs) != 1 || errs["evil.ex"] == nil {
		t.Errorf("got %v", errs)
	}
	for _, a := range signers {
		s.fetched(a.ServerName(), 0)
	}
	if q := o.queries("notary.ex"); len(q) > 16 {
		t.Errorf("%d questions", len(q))
	}
	o.answer = func(context.Context, fedinvite.ServerName, query) ([]byte, error) { return nil, fedinvite.ErrTooLarge }
	s.pass(2 * day)
	o.asked = map[fedinvite.ServerName][]query{}
	s.publishKeys(signers...)
	_ = s.ring.Prefetch(t.Context(), names)
	if q := o.queries("notary.ex"); len(q) != 16 {
		t.Errorf("%d questions", len(q))
	}
}

// Of a server with more the first 64 documents count.
func TestTheDocumentsOfOneServerAreBounded(t *testing.T) {
	a, n, o := invitetest.Signer("a.ex"), testNotary(t), newOffice(t)
	b := invitetest.SignerWithKey("a.ex", "ed25519:2")
	s := newScene(t, withNotaries(o, n))
	o.tell(n, append(slices.Repeat([][]byte{documentOf("a.ex", start.Add(day), a).signed(t, a)}, 64), documentOf("a.ex", start.Add(day), b).signed(t, b))...)
	s.current(a)
	s.reported("a.ex", 1, fedinvite.ErrTooLarge)
	s.outage("a.ex", "ed25519:2")
}

func TestANotarysKeyThatIsRefused(t *testing.T) {
	a, n, o := invitetest.Signer("a.ex"), testNotary(t), newOffice(t)
	s := newScene(t, withNotaries(o, n), func(c *keyring.Config) {
		c.Refused = func(key ed25519.PublicKey) bool { return key.Equal(n.Public()) }
	})
	o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.outage("a.ex", "ed25519:1")
	s.reported("a.ex", 1, fedinvite.ErrSignature)
}

func TestALongNameInAnAnswerIsCut(t *testing.T) {
	n, o := testNotary(t), newOffice(t)
	s := newScene(t, withNotaries(o, n))
	o.tell(n, []byte(`{"server_name":"`+strings.Repeat("x", 100<<10)+`"}`))
	s.outage("a.ex", "ed25519:1")
	if len(s.reports) != 1 || len(s.reports[0].err.Error()) > 500 {
		t.Errorf("%d reports", len(s.reports))
	}
}

func TestANotaryIsNotAskedForItself(t *testing.T) {
	o := newOffice(t)
	s := newScene(t, withNotaries(o, testNotary(t)))
	s.outage("notary.ex", "ed25519:n")
	if q := o.queries("notary.ex"); len(q) != 0 {
		t.Errorf("asked %v", q)
	}
}

func TestAQueryEndsAfterThreeTimesTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, _ query) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := newScene(t, withNotaries(o, testNotary(t)))
		began := time.Now()
		s.outage("a.ex", "ed25519:1")
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("after %v", d)
		}
		s.reported("a.ex", 1, context.DeadlineExceeded)
	})
}

// Key IDs come from peers: whatever is in them, the question stays JSON.
func TestKeyIDsInQuestionsToNotaries(t *testing.T) {
	o := newOffice(t)
	n := testNotary(t)
	s := newScene(t, withNotaries(o, n))
	o.tell(n)
	ids := []fedinvite.KeyID{`ed25519:a+b/c.d-e`, `ed25519:"},{"`, "ed25519:<>&\u2028é"}
	for i, id := range ids {
		s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), id)
	}
	for i, q := range o.queries("notary.ex") {
		want := query{fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)): {ids[i]: start.UnixMilli()}}
		if diff := cmp.Diff(want, q); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	s.unknown("a.ex", "ed25519:\xff") // cannot be in a document
	s.fetched("a.ex", 0)
}

func TestNewRefusesBadNotaries(t *testing.T) {
	n := testNotary(t)
	pinned := map[fedinvite.KeyID]ed25519.PublicKey{n.KeyID(): n.Public()}
	for name, c := range map[string]struct {
		notaries []keyring.Notary
		want     string
	}{
		"no name":      {[]keyring.Notary{{Keys: pinned}}, "Notaries"},
		"a bad name":   {[]keyring.Notary{{Server: "a/b", Keys: pinned}}, "Notaries"},
		"no keys":      {[]keyring.Notary{{Server: "n.ex"}}, "no pinned key"},
		"a bad key ID": {[]keyring.Notary{{Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"n": n.Public()}}}, "key ID"},
		"a short key":  {[]keyring.Notary{{Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:n": n.Public()[:31]}}}, "ed25519:n"},
		"a weak key":   {[]keyring.Notary{{Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:n": make([]byte, 32)}}}, "ed25519:n"},
		"twice":        {[]keyring.Notary{{Server: "n.ex", Keys: pinned}, {Server: "n.ex", Keys: pinned}}, "twice"},
		"ours":         {[]keyring.Notary{{Server: "us.ex", Keys: pinned}}, "ours"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keyring.New(keyring.Config{
				Fetcher: newNetwork(), Now: time.Now, NotaryFetcher: newOffice(t), Notaries: c.notaries,
				Local: keyring.Signers(invitetest.Signer("us.ex")),
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Config.Notaries") {
				t.Errorf("got %v", err)
			}
		})
	}
	one := []keyring.Notary{{Server: "n.ex", Keys: pinned}}
	if _, err := keyring.New(keyring.Config{Fetcher: newNetwork(), Now: time.Now, Notaries: one}); err == nil || !strings.Contains(err.Error(), "Config.NotaryFetcher") {
		t.Errorf("got %v, want the name of the field", err)
	}
	broken := func(context.Context, fedinvite.ServerName) (keyring.LocalKeys, error) {
		return keyring.LocalKeys{}, errDown
	}
	if _, err := keyring.New(keyring.Config{Fetcher: newNetwork(), Now: time.Now, NotaryFetcher: newOffice(t), Notaries: one, Local: broken}); !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
}

// A both is a Fetcher that can ask notaries too, as a client does.
type both struct {
	*network
	*office
}

func TestTheFetcherAsksNotariesIfItCan(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	pinned := map[fedinvite.KeyID]ed25519.PublicKey{n.KeyID(): n.Public()}
	s := newScene(t, func(c *keyring.Config) {
		c.Fetcher = both{newNetwork(), o}
		c.Notaries = []keyring.Notary{{Server: "notary.ex", Keys: pinned}}
	})
	delete(pinned, n.KeyID()) // the ring has its own copy
	o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.current(a)
}

// Whatever a notary returns, nothing panics, and only keys count that it has signed and
// the server has proved.
func FuzzNotaryAnswer(f *testing.F) {
	a, n := invitetest.Signer("a.ex"), testNotary(f)
	document := documentOf("a.ex", start.Add(day), a).signed(f, a)
	f.Add(notarized(f, n, document))
	f.Add(notarized(f, n, document, document))
	f.Add(answerOf(document))
	f.Add(answerOf([]byte(`{"server_name":"b.ex","x":"]}\ud800"}`), document))
	f.Add([]byte(`{"x":[[]],"server_keys" : [ {} , 7,"]"],"y":{"server_keys":[]}}`))
	f.Add([]byte(`{"server_keys":[{"server_name":"a.ex","verify_keys":{},"valid_until_ts":1,"signatures":{"notary.ex":{"ed25519:n":"AA"}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, n))
		o.returns["notary.ex"] = raw
		key, err := s.key("a.ex", "ed25519:1")
		switch {
		case err != nil && errors.Is(err, fedinvite.ErrUnknownKey):
			t.Errorf("a notary's answer is not the server's word: %v", err)
		case err == nil && (!key.Public.Equal(a.Public()) || key.ValidUntil.IsZero() == key.ExpiredAt.IsZero()):
			t.Errorf("a key that is not proved: %+v", key)
		}
	})
}

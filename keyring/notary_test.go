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

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestANotaryIsAskedForAServerThatCannotBeHad(t *testing.T) {
	a := invitetest.Signer("a.ex")
	for name, direct := range map[string][]byte{
		"down":           nil,
		"a bad document": []byte("<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newNotaryScene(t)
			s.net.publish("a.ex", direct)
			o.tell(invitetest.KeyDocument(a, start.Add(day)))
			s.current(a)
			s.current(a)
			s.fetched("a.ex", 1)
			same(t, []query{{"a.ex": {"ed25519:1": start.UnixMilli()}}}, o.queries())
			s.reported("", 0, nil)
		})
	}
}

func TestAnEventOfAnyTimeNeedsNoValidCopy(t *testing.T) {
	a := invitetest.Signer("a.ex")
	s, o := newNotaryScene(t)
	o.tell(invitetest.KeyDocument(a, start.Add(-900*day)))
	if key := s.at(a, time.Time{}); !key.ValidUntil.Equal(start.Add(-900 * day)) {
		t.Errorf("got %+v", key)
	}
	same(t, []query{{"a.ex": {"ed25519:1": 0}}}, o.queries())
}

func TestNoNotaryIsAskedWhenTheServerAnswers(t *testing.T) {
	s, o := newNotaryScene(t)
	s.current(s.publishes("a.ex"))
	s.pass(time.Minute)
	s.unknown("a.ex", "ed25519:2")
	s.fetched("a.ex", 2)
	o.counted(0)
}

// A server need not list keys that it has given up; a notary may have seen them.
func TestANotaryIsAskedForAKeyOfOldEventsThatTheServerListsNoLonger(t *testing.T) {
	s, o := newNotaryScene(t)
	a, old := s.publishes("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	o.tell(invitetest.KeyDocument(old, start.Add(-100*day)))
	if key := s.at(old, start.Add(-200*day)); !key.ValidAt(start.Add(-200*day)) || key.ValidAt(start) {
		t.Errorf("got %+v", key)
	}
	s.current(a)
	s.fetched("a.ex", 1)
}

// The notary has an old copy only: for a request the server itself is asked, for old
// events the copy serves.
func TestPlumbing42StaleNotaryAnswerIsFollowedByADirectFetch(t *testing.T) {
	a := invitetest.Signer("a.ex")
	stale := invitetest.KeyDocument(a, start.Add(-day))

	t.Run("the server answers", func(t *testing.T) {
		s, o := newNotaryScene(t, notariesFirst)
		o.tell(stale)
		s.publishKeys(a)
		s.current(a)
		s.fetched("a.ex", 1)
		o.counted(1)
	})
	t.Run("the server is gone", func(t *testing.T) {
		s, o := newNotaryScene(t, notariesFirst)
		o.tell(stale)
		s.until(a, start.Add(-day))
		s.fetched("a.ex", 1)
		s.outage("a.ex", "ed25519:2")
	})
	t.Run("another key than the one wanted", func(t *testing.T) {
		b := invitetest.SignerWithKey("a.ex", "ed25519:2")
		s, o := newNotaryScene(t, notariesFirst)
		o.tell(invitetest.KeyDocument(a, start.Add(day)))
		s.net.publish("a.ex", documentOf(start.Add(day), a, b))
		s.current(b)
		s.fetched("a.ex", 1)
	})
	t.Run("no document at all", func(t *testing.T) {
		s, o := newNotaryScene(t, notariesFirst)
		o.tell()
		s.current(s.publishes("a.ex"))
		s.fetched("a.ex", 1)
		s.reported("", 0, nil)
	})
}

// What a notary does not know is not the server's word.
func TestANotaryAnswerForOneKeyIsNoAnswerForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2"), invitetest.SignerWithKey("a.ex", "ed25519:3")
		s, o := newNotaryScene(t, notariesFirst)
		s.net.publish("a.ex", documentOf(start.Add(day), a, b, c))
		answer := notarized(notary, invitetest.KeyDocument(a, start.Add(day)))
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
		o.counted(2)
	})
}

func TestAKeyThatTheNotaryDoesNotKnowIsAskedForWithoutAPause(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s, o := newNotaryScene(t, notariesFirst)
	s.net.publish("a.ex", documentOf(start.Add(day), a, b))
	o.tell(invitetest.KeyDocument(a, start.Add(day)))
	s.current(a)
	s.current(b)
	s.unknown("a.ex", "ed25519:3")
	s.fetched("a.ex", 1)
}

func TestNotariesFirstSpareTheServer(t *testing.T) {
	s, o := newNotaryScene(t, notariesFirst)
	a := s.publishes("a.ex")
	o.tell(invitetest.KeyDocument(a, start.Add(day)))
	s.current(a)
	s.fetched("a.ex", 0)
}

func TestPlumbing43NotaryAnswerWithoutPinnedSignature(t *testing.T) {
	a := invitetest.Signer("a.ex")
	document := invitetest.KeyDocument(a, start.Add(day))
	other := invitetest.SignerWithKey("notary.ex", "ed25519:m")
	for name, answer := range map[string][]byte{
		"none":                        answerOf(document),
		"none, twice":                 answerOf(document, document),
		"of another key":              notarized(invitetest.Impostor(notary), document),
		"under another key ID":        notarized(other, document),
		"of another server":           notarized(invitetest.SignerWithKey("b.ex", "ed25519:n"), document),
		"of three bytes":              answerOf(invitetest.Change(document, invitetest.Set("AAAA", "signatures", "notary.ex", "ed25519:n"))),
		"that is no string":           answerOf(invitetest.Change(document, invitetest.Set(7, "signatures", "notary.ex", "ed25519:n"))),
		"of a document changed since": replaced(notarized(notary, document), `"valid_until_ts":17`, `"valid_until_ts":18`),
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newNotaryScene(t)
			o.returns["notary.ex"] = answer
			s.outage("a.ex", "ed25519:1")
			s.reported("a.ex", 1, fedinvite.ErrSignature)
			o.counted(1)
		})
	}
	t.Run("the pinned one beside others", func(t *testing.T) {
		s, o := newNotaryScene(t)
		o.tell(invitetest.Sign(document, other))
		s.current(a)
	})
}

// What a notary returns passes the same checks as what the server itself returns.
func TestNotarizedDocumentsAreChecked(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.Signer("b.ex")
	good := func(edits ...invitetest.Edit) []byte { return invitetest.KeyDocument(a, start.Add(day), edits...) }
	for name, c := range map[string]struct {
		document []byte
		about    fedinvite.ServerName
		fault    error
	}{
		"not signed by its keys":       {unsigned(good()), "a.ex", fedinvite.ErrSignature},
		"signed by an unlisted key":    {invitetest.Sign(unsigned(good()), invitetest.Impostor(a)), "a.ex", fedinvite.ErrSignature},
		"of a server not asked for":    {invitetest.KeyDocument(b, start.Add(day)), "a.ex", fedinvite.ErrMismatch},
		"of a name in other letters":   {good(invitetest.Set("A.ex", "server_name")), "a.ex", fedinvite.ErrMismatch},
		"without valid_until_ts":       {good(invitetest.Drop("valid_until_ts")), "a.ex", fedinvite.ErrBadJSON},
		"of more than 256 KiB":         {good(invitetest.Set(strings.Repeat("x", 256<<10), "x")), "a.ex", fedinvite.ErrTooLarge},
		"whose server_name is a list":  {good(invitetest.Set([]string{"a.ex"}, "server_name")), "a.ex", fedinvite.ErrMismatch},
		"whose server_name is Server_": {good(invitetest.Set("a.ex", "Server_Name"), invitetest.Drop("server_name")), "a.ex", fedinvite.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newNotaryScene(t)
			o.tell(c.document)
			s.outage("a.ex", "ed25519:1")
			s.reported(c.about, 1, c.fault)
			o.tell()
			s.outage("b.ex", "ed25519:1") // nothing came in by the side door
		})
	}
}

func TestMalformedNotaryAnswers(t *testing.T) {
	a := invitetest.Signer("a.ex")
	good := notarized(notary, invitetest.KeyDocument(a, start.Add(day)))
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
		"Server_Keys":             replaced(good, "server_keys", "Server_Keys"),
		"server_keys twice":       replaced(good, "{", `{"server_keys":[],`),
		"trailing data":           append(slices.Clone(good), '{', '}'),
		"a lone surrogate":        replaced(good, "{", `{"x":"\ud800",`),
		"too deep":                replaced(good, "{", `{"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+","),
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
			s, o := newNotaryScene(t)
			o.returns["notary.ex"] = answer
			s.outage("a.ex", "ed25519:1")
			s.reported("a.ex", 1, nil)
		})
	}
	for name, answer := range map[string][]byte{
		"64 times the same": many(64),
		"exactly 4 MiB":     filled(4 << 20),
		"server_keys below": replaced(good, "{", `{"x":{"server_keys":[7]},"y":"server_keys","z":[[7]],`),
		"spaces":            replaced(good, `{"server_keys":[`, "\n{ \"server_keys\" :\t[ "),
		"unknown members":   replaced(good, "{", `{"x":7,`),
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newNotaryScene(t)
			o.returns["notary.ex"] = answer
			s.current(a)
			s.reported("", 0, nil)
		})
	}
}

// A notary may have a document for each key. They come in any order, and may be there
// twice.
func TestSeveralNotarizedDocumentsOfOneServer(t *testing.T) {
	now, old, older := invitetest.SignerWithKey("a.ex", "ed25519:3"), invitetest.SignerWithKey("a.ex", "ed25519:2"), invitetest.Signer("a.ex")
	first := invitetest.KeyDocument(older, start.Add(-90*day))
	second := invitetest.KeyDocument(old, start.Add(-day), invitetest.AddOldKeys(start.Add(-95*day), older))
	third := invitetest.KeyDocument(now, start.Add(day))
	bad := unsigned(third)
	for i, documents := range [][][]byte{
		{first, second, third}, {third, second, first}, {second, third, first}, {second, first, third, second, first}, {bad, third, first, second},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s, o := newNotaryScene(t)
			o.tell(documents...)
			s.current(now)
			for signer, end := range map[fedinvite.Signer]time.Time{old: start.Add(-day), older: start.Add(-95 * day)} {
				if key := s.at(signer, end); !key.ValidAt(end) || key.ValidAt(end.Add(time.Millisecond)) {
					t.Errorf("%s: got %+v", signer.KeyID(), key)
				}
			}
			o.counted(1)
		})
	}
}

func TestANotaryCannotOutweighTheServer(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	t.Run("other bytes", func(t *testing.T) {
		s, o := newNotaryScene(t)
		s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(time.Hour)))
		s.current(a)
		s.net.publish("a.ex", nil)
		o.tell(invitetest.KeyDocument(invitetest.Impostor(a), start.Add(7*day)))
		s.pass(2 * time.Hour)
		s.until(a, start.Add(time.Hour))
		s.reported("a.ex", 1, fedinvite.ErrMismatch)
	})
	t.Run("an expiry", func(t *testing.T) {
		s, o := newNotaryScene(t)
		s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(time.Hour), invitetest.AddOldKeys(start, a)))
		s.current(b)
		s.net.publish("a.ex", nil)
		s.pass(2 * time.Hour)
		o.tell(documentOf(start.Add(day), a, b))
		s.current(b) // its validity is a notary's to tell
		s.old(a, start)
	})
	t.Run("but the server outweighs it", func(t *testing.T) {
		s, o := newNotaryScene(t, notariesFirst)
		o.tell(invitetest.KeyDocument(b, start.Add(time.Hour), invitetest.AddOldKeys(start.Add(-day), invitetest.Impostor(a))))
		s.publishKeys(a)
		s.current(a) // that it is old is not the server's word
		s.fetched("a.ex", 1)
	})
}

func TestNotariesAreAskedOneAfterAnother(t *testing.T) {
	a := invitetest.Signer("a.ex")
	n, o := signersOf("n", 4), newOffice(t)
	s := newScene(t, withNotaries(o, n...))
	o.tellAs(n[1], invitetest.KeyDocument(a, start.Add(-day)))
	o.tellAs(n[2], invitetest.KeyDocument(a, start.Add(day)))
	o.tellAs(n[3], invitetest.KeyDocument(a, start.Add(day)))
	s.current(a)
	s.reported("a.ex", 1, errDown) // of the first
	for i, want := range []int{1, 1, 1, 0} {
		if got := len(o.asked[n[i].ServerName()]); got != want {
			t.Errorf("notary %d was asked %d times, want %d", i, got, want)
		}
	}
}

// A notary that is down must not cost every look-up its time.
func TestANotaryThatFailsIsLeftAlone(t *testing.T) {
	s, o := newNotaryScene(t)
	ask := func(i, want int) {
		t.Helper()
		s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1")
		o.counted(want)
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
	s.reports = nil
	s.pass(2 * time.Minute)
	o.tell()
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
		a := invitetest.Signer("a.ex")
		s, o := newNotaryScene(t)
		answer := notarized(notary, invitetest.KeyDocument(a, start.Add(7*day)))
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
			if _, ok := q["a.ex"]; ok {
				return answer, nil
			}
			return hang(ctx, "", q)
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
		s, o := newNotaryScene(t)
		for i := range 3 {
			s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1")
		}
		o.answer = hang
		s.pass(30 * time.Second)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { s.outage(fedinvite.ServerName(fmt.Sprintf("t%d.ex", i)), "ed25519:1") })
		}
		all.Wait()
		o.counted(4)
	})
}

// What one server publishes must not spoil the documents of others, nor the notary.
func TestABadDocumentSpoilsNoOther(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.Signer("b.ex")
	signed := func(a fedinvite.Signer) []byte {
		return invitetest.Sign(invitetest.KeyDocument(a, start.Add(day)), notary)
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
			s, o := newNotaryScene(t, notariesFirst)
			o.returns["notary.ex"] = answerOf(signed(a), bad, signed(b))
			if errs := s.prefetch("a.ex", "evil.ex", "b.ex"); len(errs) != 1 || errs["evil.ex"] == nil {
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
			s, o := newNotaryScene(t, notariesFirst)
			documents := map[fedinvite.ServerName][]byte{}
			signers := signersOf("s", 100)
			for i, a := range signers {
				filling := ""
				if i < 20 {
					filling = strings.Repeat("x", 255<<10)
				}
				documents[a.ServerName()] = invitetest.KeyDocument(a, start.Add(day), invitetest.Set(filling, "x"))
			}
			o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
				answer := q.answer(documents)
				if refuse && len(answer) > 4<<20 {
					return nil, fmt.Errorf("no: %w", fedinvite.ErrTooLarge)
				}
				return answer, nil
			}
			s.prefetched(signers...)
			for _, a := range signers {
				s.fetched(a.ServerName(), 0)
			}
			s.reported("", 3, fedinvite.ErrTooLarge) // of the whole, a half and a quarter
		})
	}
}

// One server is too large for any answer; the other 99 are had in at most 16 questions.
func TestAServerWhoseDocumentsFillAnAnswer(t *testing.T) {
	s, o := newNotaryScene(t, notariesFirst)
	documents := map[fedinvite.ServerName][]byte{}
	signers := signersOf("s", 99)
	for _, a := range signers {
		documents[a.ServerName()] = invitetest.KeyDocument(a, start.Add(day))
	}
	o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
		if _, ok := q["evil.ex"]; ok {
			return nil, fedinvite.ErrTooLarge
		}
		return q.answer(documents), nil
	}
	names := slices.Insert(namesOf(signers...), 70, "evil.ex")
	if errs := s.prefetch(names...); len(errs) != 1 || errs["evil.ex"] == nil {
		t.Errorf("got %v", errs)
	}
	for _, a := range signers {
		s.fetched(a.ServerName(), 0)
	}
	if q := o.queries(); len(q) > 16 {
		t.Errorf("%d questions", len(q))
	}
	o.answer = func(context.Context, fedinvite.ServerName, query) ([]byte, error) { return nil, fedinvite.ErrTooLarge }
	s.pass(2 * day)
	o.asked = map[fedinvite.ServerName][]query{}
	s.publishKeys(signers...)
	s.prefetch(names...)
	o.counted(16)
}

// Of a server with more the first 64 documents count.
func TestTheDocumentsOfOneServerAreBounded(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s, o := newNotaryScene(t)
	o.tell(append(slices.Repeat([][]byte{invitetest.KeyDocument(a, start.Add(day))}, 64), invitetest.KeyDocument(b, start.Add(day)))...)
	s.current(a)
	s.reported("a.ex", 1, fedinvite.ErrTooLarge)
	s.outage("a.ex", "ed25519:2")
}

func TestANotarysKeyThatIsRefused(t *testing.T) {
	a := invitetest.Signer("a.ex")
	s, o := newNotaryScene(t, func(c *keyring.Config) {
		c.Refused = func(key ed25519.PublicKey) bool { return key.Equal(notary.Public()) }
	})
	o.tell(invitetest.KeyDocument(a, start.Add(day)))
	s.outage("a.ex", "ed25519:1")
	s.reported("a.ex", 1, fedinvite.ErrSignature)
}

func TestALongNameInAnAnswerIsCut(t *testing.T) {
	s, o := newNotaryScene(t)
	o.tell([]byte(`{"server_name":"` + strings.Repeat("x", 100<<10) + `"}`))
	s.outage("a.ex", "ed25519:1")
	if len(s.reports) != 1 || len(s.reports[0].err.Error()) > 500 {
		t.Errorf("%d reports", len(s.reports))
	}
}

func TestANotaryIsNotAskedForItself(t *testing.T) {
	s, o := newNotaryScene(t)
	s.outage("notary.ex", "ed25519:n")
	o.counted(0)
}

func TestAQueryEndsAfterThreeTimesTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := newNotaryScene(t)
		o.answer = hang
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
	s, o := newNotaryScene(t)
	o.tell()
	ids := []fedinvite.KeyID{`ed25519:a+b/c.d-e`, `ed25519:"},{"`, "ed25519:<>&\u2028é"}
	for i, id := range ids {
		s.outage(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), id)
	}
	for i, q := range o.queries() {
		same(t, query{fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)): {ids[i]: start.UnixMilli()}}, q)
	}
	s.unknown("a.ex", "ed25519:\xff") // cannot be in a document
	s.fetched("a.ex", 0)
}

func TestNewRefusesBadNotaries(t *testing.T) {
	key := notary.Public()
	pinned := map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:n": key}
	for name, c := range map[string]struct {
		notaries []keyring.Notary
		want     string
	}{
		"no name":      {[]keyring.Notary{{Keys: pinned}}, "Notaries"},
		"a bad name":   {[]keyring.Notary{{Server: "a/b", Keys: pinned}}, "Notaries"},
		"no keys":      {[]keyring.Notary{{Server: "n.ex"}}, "no pinned key"},
		"a bad key ID": {[]keyring.Notary{{Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"n": key}}}, "key ID"},
		"a short key":  {[]keyring.Notary{{Server: "n.ex", Keys: map[fedinvite.KeyID]ed25519.PublicKey{"ed25519:n": key[:31]}}}, "ed25519:n"},
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
	a := invitetest.Signer("a.ex")
	o := newOffice(t)
	pinned := map[fedinvite.KeyID]ed25519.PublicKey{notary.KeyID(): notary.Public()}
	s := newScene(t, func(c *keyring.Config) {
		c.Fetcher = both{newNetwork(), o}
		c.Notaries = []keyring.Notary{{Server: "notary.ex", Keys: pinned}}
	})
	delete(pinned, notary.KeyID()) // the ring has its own copy
	o.tell(invitetest.KeyDocument(a, start.Add(day)))
	s.current(a)
}

// Whatever a notary returns, nothing panics, and only keys count that it has signed and
// the server has proved.
func FuzzNotaryAnswer(f *testing.F) {
	a := invitetest.Signer("a.ex")
	document := invitetest.KeyDocument(a, start.Add(day))
	f.Add(notarized(notary, document))
	f.Add(notarized(notary, document, document))
	f.Add(answerOf(document))
	f.Add(answerOf([]byte(`{"server_name":"b.ex","x":"]}\ud800"}`), document))
	f.Add([]byte(`{"x":[[]],"server_keys" : [ {} , 7,"]"],"y":{"server_keys":[]}}`))
	f.Add([]byte(`{"server_keys":[{"server_name":"a.ex","verify_keys":{},"valid_until_ts":1,"signatures":{"notary.ex":{"ed25519:n":"AA"}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, o := newNotaryScene(t)
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

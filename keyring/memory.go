package keyring

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

// How often a server is asked.
const (
	minInterval = time.Minute      // after an answer
	minBackoff  = 30 * time.Second // after a first failure
	maxBackoff  = time.Hour
)

// maxSaved is how many keys of one document are saved, so that strangers with many names
// and long documents cannot fill the Store so soon.
const maxSaved = 16

// A memory is what a Ring knows of servers: their keys, and their failures, apart,
// so that made-up servers cannot push out real ones.
type memory struct {
	keepFirst bool // see Config.KeepFirst
	stored    bool // there is a Store too

	// What is kept here holds names of its own, which are not parts of something large:
	// see question.own.
	mu       sync.Mutex
	servers  *lru.Cache[fedinvite.ServerName, *known]
	failures *lru.Cache[fedinvite.ServerName, *failure]
}

// A known server has keys.
type known struct {
	keys []Record // never changed once it is here: a change replaces it
	// In milliseconds, 0: not known.
	asked   int64 // when the server itself answered last
	told    int64 // when it did, or a notary gave what was wanted in its place
	renewed int64 // when a renewal was begun last
}

// A failure is of a server that returned no good document when it was asked last.
type failure struct {
	err    *pastError
	at     int64 // ms
	pause  time.Duration
	looked int64 // when the Store was asked instead
}

// A pastError is what is remembered of an error: a short copy of its text. The error
// itself may hold a large reply.
type pastError struct {
	text      string
	unknown   bool // it was an ErrUnknownKey
	at, until time.Time
}

// maxErrorText is in bytes.
const maxErrorText = 256

func newPastError(err error, at time.Time, pause time.Duration) *pastError {
	text := err.Error()
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return &pastError{
		text:    strings.Clone(text),
		unknown: errors.Is(err, fedinvite.ErrUnknownKey),
		at:      at,
		until:   at.Add(pause),
	}
}

func (e *pastError) Error() string {
	return fmt.Sprintf("%s (remembered since %s, not asked again until %s)",
		e.text, e.at.UTC().Format(time.RFC3339), e.until.UTC().Format(time.RFC3339))
}

// Unwrap returns [fedinvite.ErrUnknownKey] or nothing.
func (e *pastError) Unwrap() error {
	if e.unknown {
		return fedinvite.ErrUnknownKey
	}
	return nil
}

// errUnheard stands for an answer until there is one.
var errUnheard = errors.New("keyring: nothing is known of the server")

func newMemory(c Config) *memory {
	return &memory{
		keepFirst: c.KeepFirst,
		stored:    c.Store != nil,
		servers:   lru.New[fedinvite.ServerName, *known](c.MaxServers),
		failures:  lru.New[fedinvite.ServerName, *failure](c.MaxServers),
	}
}

// A question is what is wanted of a server.
type question struct {
	server fedinvite.ServerName
	id     fedinvite.KeyID // "": any current key that is valid at
	at     time.Time       // freshness wanted; zero: any
	beyond time.Time       // to renew the key: it must be valid for longer than this
	alone  bool            // of the server alone: Store and notaries were asked before
}

// own returns q with copies of the names, which may be parts of events and headers. What is
// remembered must not hold those in memory.
func (q question) own() question {
	q.server = fedinvite.ServerName(strings.Clone(string(q.server)))
	q.id = fedinvite.KeyID(strings.Clone(string(q.id)))
	return q
}

// settled reports whether keys answer q as well as it can be.
func (q question) settled(keys []Record, now time.Time) bool {
	if q.id == "" {
		return slices.ContainsFunc(keys, func(r Record) bool { return r.ExpiredAt.IsZero() && !q.at.After(r.ValidUntil) })
	}
	key := find(keys, q.id)
	return key != nil && fresh(key, q.at, now) && (key.ValidUntil.After(q.beyond) || !key.ExpiredAt.IsZero())
}

// unknown is the error if the server answered and has no such key.
func (q question) unknown() error {
	if q.id == "" {
		return fmt.Errorf("%w: %q has no key that is valid", fedinvite.ErrUnknownKey, q.server)
	}
	return fmt.Errorf("%w: %q has no key %q", fedinvite.ErrUnknownKey, q.server, q.id)
}

// A step says what may be done to answer a question better than memory does.
type step uint8

const (
	stay  step = iota
	renew      // in the background
	look       // in the Store only, because the server is not to be asked now
	ask
)

// recall returns the key that q asks for, nil if it is not known, and the step to
// take. The key may be past its validity; err says why there is no better one, nil if
// the server itself has none. What recall returns as renew or look it does not return
// again for a minute.
func (m *memory) recall(q question, now time.Time) (key *Record, next step, err error) {
	if key = m.peek(q, now); key != nil {
		return key, stay, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.get(q.server, now)
	if k != nil {
		key = find(k.keys, q.id)
	}
	if key != nil && fresh(key, q.at, now) {
		return key, m.renewal(q, k, key, now), nil
	}
	f, _ := m.failures.Get(q.server)
	switch {
	case mayAsk(k, f, now):
		return key, ask, excuse(k, f)
	case m.stored && f != nil && due(f.looked, minInterval, now):
		f.looked = now.UnixMilli()
		return key, look, f.err
	}
	return key, stay, excuse(k, f)
}

// peek returns a key that is fresh and that there is no reason to renew: the way of
// nearly all look-ups, which holds the lock for as short a time as it can.
func (m *memory) peek(q question, now time.Time) *Record {
	m.mu.Lock()
	k := m.get(q.server, now)
	if k == nil {
		m.mu.Unlock()
		return nil
	}
	seen := *k
	m.mu.Unlock()
	key := find(seen.keys, q.id)
	if key == nil || !fresh(key, q.at, now) || seen.pastHalf(key, now) {
		return nil
	}
	return key
}

// renewal returns the step to take for a key that is fresh.
func (m *memory) renewal(q question, k *known, key *Record, now time.Time) step {
	if !k.pastHalf(key, now) || !due(k.renewed, minInterval, now) {
		return stay
	}
	if f, _ := m.failures.Get(q.server); !mayAsk(k, f, now) {
		return stay
	}
	k.renewed = now.UnixMilli()
	return renew
}

// A standing is what is known of a question's server at one moment.
type standing struct {
	keys    []Record
	settled bool  // they answer the question, as well as it can be
	mayAsk  bool  // whether the server may be asked
	err     error // why there is no more, nil if the server has none
}

func (m *memory) standing(q question, now time.Time) (s standing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.get(q.server, now)
	if k != nil {
		s.keys, s.settled = k.keys, q.settled(k.keys, now)
	}
	f, _ := m.failures.Get(q.server)
	s.mayAsk, s.err = mayAsk(k, f, now), excuse(k, f)
	return s
}

// mayAsk reports whether a server may be asked now.
func mayAsk(k *known, f *failure, now time.Time) bool {
	switch {
	case f != nil:
		return due(f.at, f.pause, now)
	case k != nil:
		return due(k.asked, minInterval, now)
	}
	return true
}

// excuse returns why there is no better answer, nil if the server gave none.
func excuse(k *known, f *failure) error {
	switch {
	case f != nil:
		return f.err
	case k != nil:
		return nil
	}
	return errUnheard
}

// anyValid reports whether a key of keys is valid now.
func anyValid(keys []Record, now time.Time) bool {
	return question{at: now}.settled(keys, now)
}

func find(keys []Record, id fedinvite.KeyID) *Record {
	for i := range keys {
		if keys[i].KeyID == id {
			return &keys[i]
		}
	}
	return nil
}

// fresh reports whether nobody could say more of the key than is known: it covers
// the time wanted, or no document reaches that far, or the server has said that it is
// old. That only a notary said so is no reason not to ask the server.
func fresh(key *Record, at, now time.Time) bool {
	end := key.ValidUntil
	if !key.ExpiredAt.IsZero() {
		end = key.ExpiredAt
		if !key.Fetched.IsZero() {
			return true
		}
	}
	return !at.After(end) || at.After(now.Add(maxValidity))
}

// pastHalf reports whether more than half of the time is over for which a key was
// good when its server was asked last, but not all of it. A key that its server
// no longer lists is so asked about ever more often, until its end.
func (k *known) pastHalf(key *Record, now time.Time) bool {
	if !key.ExpiredAt.IsZero() || now.After(key.ValidUntil) {
		return false
	}
	end, begin := key.ValidUntil.UnixMilli(), k.told
	if begin == 0 {
		begin = end - maxValidity.Milliseconds() // the earliest that it can be
	}
	ms := now.UnixMilli()
	return ms-begin > end-ms
}

// due also holds if the clock was set back.
func due(last int64, pause time.Duration, now time.Time) bool {
	since := now.UnixMilli() - last
	return since < 0 || since >= pause.Milliseconds()
}

// A telling is what a source says of the keys of one server.
type telling struct {
	q       question // that it answers, perhaps
	records []Record
	at      int64 // when the server or the notary said it, in ms; 0: not known
	notary  bool
	stored  bool // it comes from the Store
}

// A lesson is what memory made of a telling.
type lesson struct {
	keys    []Record          // all that are known now
	news    []Record          // of the telling, what a Store should have
	clashes []fedinvite.KeyID // known before with other bytes
}

// learn merges what is told into what is known.
func (m *memory) learn(t telling, now time.Time) lesson {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.get(t.q.server, now)
	if k == nil {
		k = new(known)
		m.servers.Put(t.q.server, k)
	}
	l := t.merge(k.keys, now, m.keepFirst)
	k.keys = l.keys
	at := min(t.at, now.UnixMilli())
	// What a notary does not know is no reason not to ask the server.
	if !t.notary {
		k.asked = max(k.asked, at)
	}
	if !t.notary || t.q.settled(l.keys, now) {
		k.told = max(k.told, at)
	}
	return l
}

func (t telling) merge(before []Record, now time.Time, keepFirst bool) (l lesson) {
	keys := append(make([]Record, 0, len(before)+len(t.records)), before...)
	for _, r := range t.records {
		r = notAfter(r, now)
		r.Server = t.q.server
		old := find(keys, r.KeyID)
		if old == nil {
			r.KeyID = fedinvite.KeyID(strings.Clone(string(r.KeyID)))
			keys = append(keys, r)
			l.news = append(l.news, r)
			continue
		}
		r.KeyID = old.KeyID
		if !bytes.Equal(old.Public, r.Public) {
			l.clashes = append(l.clashes, r.KeyID)
			switch notary := r.Fetched.IsZero(); {
			case notary && !old.Fetched.IsZero():
				continue // a notary cannot change what the server said
			case !keepFirst || !notary && old.Fetched.IsZero():
			case t.stored:
				*old = r // what all processes share was there before
				continue
			default:
				continue
			}
		}
		l.news = append(l.news, r)
		*old = Merge(*old, r)
	}
	l.keys, l.news = t.limit(keys), t.worthSaving(l.news, before)
	return l
}

// worthSaving returns the news that a Store should have: the key that is wanted, those
// that were current and are given up now, current ones, and of the old ones those that
// were current until last. The others are in memory, and can be asked for again.
func (t telling) worthSaving(news, before []Record) []Record {
	if len(news) <= maxSaved {
		return news
	}
	rank := func(r Record) int {
		old := find(before, r.KeyID)
		switch current := r.ExpiredAt.IsZero(); {
		case r.KeyID == t.q.id:
			return 0
		case !current && old != nil && old.ExpiredAt.IsZero():
			return 1
		case current:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(news, func(a, b Record) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.ExpiredAt.Compare(a.ExpiredAt))
	})
	return news[:maxSaved]
}

// get returns what is known of server. If that is from a time that the clock has not
// reached, because it was set back since, it is taken for a moment old: it must not
// outweigh what is said from now on, nor be valid for longer.
func (m *memory) get(server fedinvite.ServerName, now time.Time) *known {
	k, _ := m.servers.Get(server)
	if k == nil || k.told <= now.UnixMilli() {
		return k
	}
	keys := make([]Record, len(k.keys))
	for i, r := range k.keys {
		keys[i] = notAfter(r, now)
	}
	*k = known{keys: keys}
	return k
}

// notAfter returns r with times that the clock and the longest validity allow.
func notAfter(r Record, now time.Time) Record {
	now = now.Truncate(time.Millisecond)
	if r.Fetched.After(now) {
		r.Fetched = now.Add(-time.Millisecond).UTC()
	}
	if limit := now.Add(maxValidity); r.ValidUntil.After(limit) {
		r.ValidUntil = limit.UTC()
	}
	return r
}

// limit returns a copy of keys without those for which there is no room: the one that
// is wanted stays, and those that were fetched last. Current keys come first, because
// they are looked for most.
func (t telling) limit(keys []Record) []Record {
	if len(keys) > maxKeys {
		slices.SortStableFunc(keys, func(a, b Record) int {
			switch t.q.id {
			case a.KeyID:
				return -1
			case b.KeyID:
				return 1
			}
			return b.Fetched.Compare(a.Fetched)
		})
		keys = keys[:maxKeys]
	}
	slices.SortStableFunc(keys, func(a, b Record) int { return b.ValidUntil.Compare(a.ValidUntil) })
	return slices.Clone(keys)
}

// fail notes that the server returned no good document.
func (m *memory) fail(server fedinvite.ServerName, err error, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, _ := m.failures.Get(server)
	if f == nil {
		f = new(failure)
		m.failures.Put(server, f)
	}
	ms, pause := now.UnixMilli(), min(max(2*f.pause, minBackoff), maxBackoff)
	*f = failure{err: newPastError(err, now, pause), at: ms, pause: pause, looked: ms}
}

// forgive forgets the failures of a server that returned a good document.
func (m *memory) forgive(server fedinvite.ServerName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures.Remove(server)
}

package keyring

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Notary is a server that is trusted to tell other servers' keys.
type Notary struct {
	Server fedinvite.ServerName
	// Keys are the notary's own keys, one at least. They are pinned: answers that none
	// of them has signed are not used, wherever they come from.
	Keys map[fedinvite.KeyID]ed25519.PublicKey
}

// A NotaryFetcher asks notaries; fedclient.Client is one.
type NotaryFetcher interface {
	// QueryServerKeys sends body to notary, POST /_matrix/key/v2/query, and returns
	// the answer, unchecked. It must end when ctx does, and return no more than it
	// is willing to hold in memory: 4 MiB is the most that counts. Any error is an
	// outage.
	QueryServerKeys(ctx context.Context, notary fedinvite.ServerName, body []byte) ([]byte, error)
}

// What one question to a notary may cost.
const (
	maxBatch           = 100     // servers
	maxAnswer          = 4 << 20 // bytes
	documentsPerServer = 4       // on average; a notary may have one for each key
	documentsMore      = 60
)

// A notary is one that is in use.
type notary struct {
	server fedinvite.ServerName
	keys   map[fedinvite.KeyID]fedinvite.VerifyKey

	mu      sync.Mutex
	failure *failure // since its last answer
}

// newNotaries checks the notaries of c.
func newNotaries(c Config) ([]*notary, error) {
	var notaries []*notary
	for _, n := range c.Notaries {
		if _, ok := c.notaryFetcher(); !ok {
			return nil, errors.New("keyring: Config.NotaryFetcher is required with Notaries")
		}
		for _, other := range notaries {
			if other.server == n.Server {
				return nil, fmt.Errorf("keyring: Config.Notaries: %q is there twice", n.Server)
			}
		}
		checked, err := newNotary(n)
		if err != nil {
			return nil, fmt.Errorf("keyring: Config.Notaries: %q: %w", n.Server, err)
		}
		_, ours, err := c.local(context.Background(), n.Server)
		if err == nil && ours {
			err = fmt.Errorf("keyring: %q is ours", n.Server)
		}
		if err != nil {
			return nil, fmt.Errorf("keyring: Config.Notaries: %w", err)
		}
		notaries = append(notaries, checked)
	}
	return notaries, nil
}

func newNotary(n Notary) (*notary, error) {
	if _, err := fedinvite.ParseServerName(string(n.Server)); err != nil {
		return nil, err
	}
	if len(n.Keys) == 0 {
		return nil, errors.New("no pinned key")
	}
	keys := make(map[fedinvite.KeyID]fedinvite.VerifyKey, len(n.Keys))
	for id, key := range n.Keys {
		if !usableID(id) {
			return nil, fmt.Errorf("%w: key ID %q", fedinvite.ErrIdentifier, id)
		}
		public, err := fedinvite.ParsePublicKey(base64.RawStdEncoding.EncodeToString(key))
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", id, err)
		}
		keys[id] = fedinvite.VerifyKey{Public: public}
	}
	return &notary{server: n.Server, keys: keys}, nil
}

// notaryFetcher returns the one to use.
func (c Config) notaryFetcher() (NotaryFetcher, bool) {
	if c.NotaryFetcher != nil {
		return c.NotaryFetcher, true
	}
	f, ok := c.Fetcher.(NotaryFetcher)
	return f, ok
}

// query asks n, unless it failed just now, and returns what it tells of those that are
// in question. Its faults are reported.
func (r *Ring) query(ctx context.Context, n *notary, batch []question) []telling {
	about := fedinvite.ServerName("")
	if len(batch) == 1 {
		about = batch[0].server
	}
	if about == n.server || !n.due(r.config.Now()) {
		return nil
	}
	answer, err := r.exchange(ctx, n, batch)
	if err != nil && ctx.Err() != nil {
		return nil // nobody's fault
	}
	n.note(err, r.config.Now())
	if err != nil {
		r.config.Report(about, fmt.Errorf("keyring: notary %q: %w", n.server, err))
		return nil
	}
	for _, fault := range answer.faults {
		r.config.Report(about, fmt.Errorf("keyring: notary %q: %w", n.server, fault))
	}
	return answer.good
}

func (n *notary) due(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure == nil || due(n.failure.at, n.failure.pause, now)
}

// note remembers whether n gave a proper answer.
func (n *notary) note(err error, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.failure = nil
		return
	}
	before := n.failure
	if before == nil {
		before = new(failure)
	}
	after := before.again(err, now)
	n.failure = &after
}

// exchange sends the question and reads the answer.
func (r *Ring) exchange(ctx context.Context, n *notary, batch []question) (notaryAnswer, error) {
	body, err := notaryQuestion(batch)
	if err != nil {
		return notaryAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	fetcher, _ := r.config.notaryFetcher()
	begun := r.config.Now()
	raw, err := fetcher.QueryServerKeys(ctx, n.server, body)
	if err != nil {
		return notaryAnswer{}, err
	}
	return n.read(raw, batch, begun)
}

// notaryQuestion returns the body of POST /_matrix/key/v2/query.
func notaryQuestion(batch []question) ([]byte, error) {
	type criteria struct {
		Least int64 `json:"minimum_valid_until_ts"`
	}
	servers := make(map[fedinvite.ServerName]map[fedinvite.KeyID]criteria, len(batch))
	for _, q := range batch {
		keys := make(map[fedinvite.KeyID]criteria)
		if q.id != "" { // else all keys
			keys[q.id] = criteria{q.least()}
		}
		servers[q.server] = keys
	}
	return fedinvite.MarshalCanonical(map[string]any{"server_keys": servers})
}

// least returns the validity to ask a notary for, minimum_valid_until_ts: 0 if any copy
// will do, and for a renewal more than there is.
func (q question) least() int64 {
	var least int64
	if !q.at.IsZero() {
		least = max(least, q.at.UnixMilli())
	}
	if !q.beyond.IsZero() {
		least = max(least, q.beyond.UnixMilli()+1)
	}
	return least
}

// A notaryAnswer is what a notary tells.
type notaryAnswer struct {
	good   []telling // one for a server at most
	faults []error   // of documents that are not used, one for a server at most
}

// read reads the answer to a question about batch, which came at now. Its documents may
// come in any order, and several of one server: old ones are good for old events. A
// fault of one document does not spoil the others; the error is about the answer as a
// whole.
func (n *notary) read(raw []byte, batch []question, now time.Time) (notaryAnswer, error) {
	documents, err := readAnswer(raw, documentsPerServer*len(batch)+documentsMore)
	if err != nil {
		return notaryAnswer{}, err
	}
	var answer notaryAnswer
	faults := make(map[fedinvite.ServerName]bool)
	fault := func(server fedinvite.ServerName, err error) {
		if !faults[server] {
			faults[server] = true
			answer.faults = append(answer.faults, err)
		}
	}
	tellings := make([]telling, len(batch))
	asked := make(map[fedinvite.ServerName]*telling, len(batch))
	for i, q := range batch {
		tellings[i] = telling{q: q, at: now.UnixMilli(), notary: true}
		asked[q.server] = &tellings[i]
	}
	for _, document := range documents {
		server, err := n.vouched(document)
		t := asked[server]
		switch {
		case err != nil:
			fault(server, err)
		case t == nil:
			fault("", fmt.Errorf("%w: a document of %q, which was not asked for", fedinvite.ErrMismatch, server))
		default:
			records, err := readDocument(document, server, now)
			if err != nil {
				fault(server, err)
				continue
			}
			t.records = append(t.records, secondHand(records)...)
		}
	}
	answer.good = withRecords(tellings)
	return answer, nil
}

// readAnswer returns the documents of an answer, in canonical form.
func readAnswer(raw []byte, most int) ([]json.RawMessage, error) {
	if len(raw) > maxAnswer {
		return nil, fedinvite.ErrTooLarge
	}
	text, err := fedinvite.LegacyCanonicalJSON(raw)
	if err != nil {
		return nil, err
	}
	answer, _ := object(text)
	var documents []json.RawMessage
	if err := json.Unmarshal(answer["server_keys"], &documents); err != nil || documents == nil {
		return nil, fmt.Errorf("%w: no array server_keys", fedinvite.ErrBadJSON)
	}
	if len(documents) > most {
		return nil, fmt.Errorf("%w: %d documents", fedinvite.ErrTooLarge, len(documents))
	}
	return documents, nil
}

// vouched returns the server of a document that n has signed by a pinned key.
func (n *notary) vouched(document json.RawMessage) (fedinvite.ServerName, error) {
	members, _ := object(document)
	name, _ := str(members["server_name"])
	server := fedinvite.ServerName(name)
	if len(document) > maxDocument {
		return server, fedinvite.ErrTooLarge
	}
	message, all, err := fedinvite.SignedJSON(document)
	if err != nil {
		return server, err
	}
	servers, _ := object(all)
	signatures, _ := object(servers[string(n.server)])
	for id, key := range n.keys {
		encoded, _ := str(signatures[string(id)])
		signature, err := fedinvite.DecodeBase64(encoded)
		if err == nil && key.Verify(message, signature) == nil {
			return server, nil
		}
	}
	return server, fmt.Errorf("%w: no pinned key has signed the document of %q", fedinvite.ErrSignature, server)
}

// secondHand returns records as those of a notary: never had from the server itself,
// so that they cannot outweigh what was.
func secondHand(records []Record) []Record {
	for i := range records {
		records[i].Fetched = time.Time{}
	}
	return records
}

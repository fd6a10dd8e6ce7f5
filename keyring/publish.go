package keyring

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/seed-0a46cb1a/fedinvite"
)

const publishPath = "/_matrix/key/v2/server"

const (
	// minRemaining is for how long a document should hold that is served.
	minRemaining = time.Hour
	// signTimeout is how long all signers of a document may take together.
	signTimeout = 10 * time.Second
	// signPause is the time between two tries if signing fails.
	signPause = time.Minute
)

// A PublishConfig says what a [PublishHandler] publishes.
type PublishConfig struct {
	// Local returns the keys of our servers. Required.
	Local Local
	// Now is the clock; nil: [time.Now].
	Now func() time.Time
	// Default is the server to answer for if the request's Host header names none
	// of ours, as it does when a server is delegated to another host; "": 404. It must be
	// ours, which [NewPublishHandler] asks Local about; if it is no longer, it is as if it
	// were "".
	Default fedinvite.ServerName
	// Validity is how far in the future valid_until_ts lies when a document is
	// signed; 0: 24 h. It must be two hours at least, because a document is served
	// until half of its time is over and should then hold for another hour.
	Validity time.Duration
	// Report is told why a document cannot be signed, also if the one before is served
	// instead. nil: nobody is told. It should be fast, and safe for concurrent use.
	Report func(server fedinvite.ServerName, err error)
}

// A PublishHandler answers GET /_matrix/key/v2/server, and its deprecated form with
// a key ID behind it, with our own key document (server-server API, "Publishing
// Keys"), for any number of server names. It signs a document once for half of its
// validity and anew when the keys change, or when the clock was set back. There is one
// signing at a time of a server's keys, whoever waits for it, for ten seconds at most; it
// goes on when they stop waiting. If it fails, the document from before is served as
// long as it holds for another hour, if the keys are the same, and signing is tried
// again after a minute. It is safe for concurrent use.
//
// Mount it under the whole path, for instance at "/_matrix/key/v2/". Other paths get
// 404 and other methods 405, both M_UNRECOGNIZED; a host that is not ours 404
// M_NOT_FOUND.
type PublishHandler struct {
	config  PublishConfig
	signing singleflight.Group // by server and keys
	mu      sync.Mutex
	signed  map[fedinvite.ServerName]publication
}

// A publication is a signed document.
type publication struct {
	keys       string    // what it says of our keys
	resignAt   time.Time // half of its validity; later if signing failed then
	validUntil time.Time
	document   []byte
}

// NewPublishHandler returns a PublishHandler. The error names the field that is
// missing or wrong. Local is asked whether Default is ours, if there is one.
func NewPublishHandler(c PublishConfig) (*PublishHandler, error) {
	switch {
	case c.Local == nil:
		return nil, errors.New("keyring: PublishConfig.Local is required")
	case c.Validity != 0 && c.Validity < 2*minRemaining:
		return nil, errors.New("keyring: PublishConfig.Validity must be two hours at least")
	}
	if err := c.checkDefault(); err != nil {
		return nil, fmt.Errorf("keyring: PublishConfig.Default: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Validity == 0 {
		c.Validity = 24 * time.Hour
	}
	if c.Report == nil {
		c.Report = func(fedinvite.ServerName, error) {}
	}
	return &PublishHandler{config: c, signed: make(map[fedinvite.ServerName]publication)}, nil
}

// checkDefault makes sure that there is a document for Default, of whose absence nobody
// else would tell us.
func (c *PublishConfig) checkDefault() error {
	if c.Default == "" {
		return nil
	}
	if _, err := fedinvite.ParseServerName(string(c.Default)); err != nil {
		return err
	}
	keys, err := c.Local(context.Background(), c.Default)
	if err != nil {
		return fmt.Errorf("%q: %w", c.Default, err)
	}
	_, err = keys.list(c.Default)
	return err
}

// ServeHTTP implements [http.Handler].
func (h *PublishHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := h.answer(r)
	status := http.StatusOK
	if err != nil {
		e := fedinvite.WireError(err)
		if status = e.HTTPStatus(); status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD")
		}
		if body, err = json.Marshal(e); err != nil {
			body = []byte(`{"errcode":"M_UNKNOWN","error":"internal error"}`)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever hung up will ask again
}

func (h *PublishHandler) answer(r *http.Request) ([]byte, error) {
	keyID, deprecated := strings.CutPrefix(r.URL.EscapedPath(), publishPath+"/")
	if r.URL.Path != publishPath && (!deprecated || strings.Contains(keyID, "/")) {
		return nil, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound, Message: "no such endpoint"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusMethodNotAllowed, Message: "use GET"}
	}
	// Some clients send the default port, which is no part of the name.
	for _, host := range []string{r.Host, strings.TrimSuffix(r.Host, ":8448"), string(h.config.Default)} {
		server, err := fedinvite.ParseServerName(host)
		if err != nil {
			continue
		}
		keys, err := h.config.Local(r.Context(), server)
		if errors.Is(err, fedinvite.ErrNotLocal) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("keyring: our keys of %q: %w", server, err)
		}
		return h.publish(r.Context(), server, keys)
	}
	return nil, &fedinvite.Error{Code: fedinvite.CodeNotFound, Status: http.StatusNotFound, Message: "no such server here"}
}

// publish returns the document of server, signed before if that one still serves.
func (h *PublishHandler) publish(ctx context.Context, server fedinvite.ServerName, keys LocalKeys) ([]byte, error) {
	listed, err := keys.list(server)
	if err != nil {
		err = fmt.Errorf("keyring: %w", err)
		h.config.Report(server, err)
		return nil, err
	}
	if document, ok := h.served(server, listed); ok {
		return document, nil
	}
	document, err, _ := h.signing.Do(listed, func() (any, error) {
		// Another signing may have ended between the look and the start of this one.
		if document, ok := h.served(server, listed); ok {
			return document, nil
		}
		return h.renew(ctx, server, listed, keys.Signers)
	})
	if err != nil {
		return nil, err
	}
	return document.([]byte), nil
}

// served returns the last document, if it lists the same keys and need not be signed anew.
func (h *PublishHandler) served(server fedinvite.ServerName, listed string) ([]byte, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, now := h.signed[server], h.now()
	return p.document, p.keys == listed && h.holds(p, now) && now.Before(p.resignAt)
}

// now returns the time that a clock on the wall shows, which can be set back.
func (h *PublishHandler) now() time.Time { return h.config.Now().Round(0) }

// holds reports whether p may be served. One that is valid for longer than any that is
// signed now is from a time when the clock was ahead.
func (h *PublishHandler) holds(p publication, now time.Time) bool {
	remaining := p.validUntil.Sub(now)
	return remaining >= minRemaining && remaining <= h.config.Validity
}

// renew signs the document anew. If it cannot, it returns the last one, as long as that
// holds.
func (h *PublishHandler) renew(ctx context.Context, server fedinvite.ServerName, listed string, signers []fedinvite.Signer) ([]byte, error) {
	p, err := h.sign(ctx, listed, signers)
	if err != nil {
		err = fmt.Errorf("keyring: signing our key document: %w", err)
		h.config.Report(server, err)
		now := h.now()
		h.mu.Lock()
		p = h.signed[server]
		h.mu.Unlock()
		if p.keys != listed || !h.holds(p, now) {
			return nil, err
		}
		p.resignAt = now.Add(signPause)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// The name may be part of a large request.
	h.signed[fedinvite.ServerName(strings.Clone(string(server)))] = p
	return p.document, nil
}

// sign makes the document that lists keys. It is for all who wait, so that the end of one
// request must not end it.
func (h *PublishHandler) sign(ctx context.Context, listed string, signers []fedinvite.Signer) (p publication, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signTimeout)
	defer cancel()
	now := h.now()
	p = publication{keys: listed, resignAt: now.Add(h.config.Validity / 2), validUntil: now.Add(h.config.Validity)}
	validUntil := strconv.FormatInt(p.validUntil.UnixMilli(), 10)
	p.document = []byte(strings.TrimSuffix(listed, "}") + `,"valid_until_ts":` + validUntil + "}")
	for _, s := range signers {
		if p.document, err = fedinvite.SignJSON(ctx, p.document, s); err != nil {
			return publication{}, err
		}
	}
	return p, nil
}

// list returns the document without time and signatures.
func (k LocalKeys) list(server fedinvite.ServerName) (string, error) {
	type verifyKey struct {
		Key string `json:"key"`
	}
	type oldKey struct {
		Key     string `json:"key"`
		Expired int64  `json:"expired_ts"`
	}
	if len(k.Signers) == 0 {
		return "", fmt.Errorf("no signing key of %q", server)
	}
	current := make(map[fedinvite.KeyID]verifyKey)
	for _, s := range k.Signers {
		if s.ServerName() != server {
			return "", fmt.Errorf("a signer of %q among the keys of %q", s.ServerName(), server)
		}
		current[s.KeyID()] = verifyKey{base64.RawStdEncoding.EncodeToString(s.Public())}
	}
	old := make(map[fedinvite.KeyID]oldKey)
	for id, key := range k.Old {
		if _, again := current[id]; again || key.ExpiredAt.IsZero() {
			return "", fmt.Errorf("our old key %q is in use or has no ExpiredAt", id)
		}
		if len(key.Public) != ed25519.PublicKeySize {
			return "", fmt.Errorf("our old key %q is of %d bytes", id, len(key.Public))
		}
		old[id] = oldKey{base64.RawStdEncoding.EncodeToString(key.Public), key.ExpiredAt.UnixMilli()}
	}
	text, err := fedinvite.MarshalCanonical(map[string]any{"server_name": server, "verify_keys": current, "old_verify_keys": old})
	return string(text), err
}

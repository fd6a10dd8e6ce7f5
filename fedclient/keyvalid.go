package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	keyValidTimeout  = 10 * time.Second
	maxKeyValidURL   = 2048     // bytes, with the key
	maxKeyValidReply = 64 << 10 // bytes
)

// KeyValid returns a function that asks a key_validity_url whether a public key, in
// base64 as the room has it, is valid still (client-server API, "Third-party invites";
// Identity Service API, GET /_matrix/identity/v2/pubkey/isvalid). It makes a
// KeyValid of package fedserver:
//
//	transport, err := discovery.New(discovery.Config{UserAgent: "example/1.0"}) // that of the Client
//	…
//	KeyValid: fedclient.KeyValid(&http.Client{Transport: transport.Dialer().HTTPTransport(nil)}),
//
// The URL is that of a state event of the room: whoever may invite there chooses where
// this request of ours goes. The transport must therefore connect to public addresses
// only, judged as it dials them, as that of [discovery.Dialer.HTTPTransport] does. That of
// net/http goes anywhere, so it is not used by default: without c or its Transport, the
// function returns an error.
//
// The function adds public_key to the URL's query, in place of any that is there, and
// makes a GET request, by https only and without redirects and cookies, whatever c
// says. It is bounded by ctx and by 10 s, the URL by 2,048 bytes, the answer by 64 KiB. It
// returns the boolean "valid" of the answer. All else is an error: a [*RemoteError] for a
// status other than 200, with the URL's host as its Server; [ErrReply] for an answer that
// cannot be used; [ErrUnreachable] for none; [fedinvite.ErrBadJSON] or
// [fedinvite.ErrTooLarge] for a URL that is not asked.
func KeyValid(c *http.Client) func(ctx context.Context, url, key string) (bool, error) {
	if c == nil || c.Transport == nil {
		return func(context.Context, string, string) (bool, error) {
			return false, errors.New("fedclient: KeyValid has no http.Client with a Transport")
		}
	}
	asking := *c
	asking.Jar = nil
	asking.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(ctx context.Context, url, key string) (bool, error) { return keyValid(ctx, &asking, url, key) }
}

func keyValid(ctx context.Context, c *http.Client, where, key string) (bool, error) {
	target, err := keyValidURL(where, key)
	if err != nil {
		return false, fmt.Errorf("fedclient: key_validity_url: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, keyValidTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return false, fmt.Errorf("fedclient: %w", err)
	}
	// Compressed, a reply of nothing could go on until the time is over.
	req.Header.Set("Accept-Encoding", "identity")
	res, err := c.Do(req)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, readError(fedinvite.ServerName(target.Host), res)
	}
	answer, err := readReply(res, maxKeyValidReply)
	if err != nil {
		return false, fmt.Errorf("key_validity_url: %w", err)
	}
	return readKeyValid(answer)
}

// keyValidURL returns the URL to ask, if it is one that may be asked.
func keyValidURL(where, key string) (*url.URL, error) {
	if n := len(where) + len(key); n > maxKeyValidURL {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", fedinvite.ErrTooLarge, n, maxKeyValidURL)
	}
	u, err := url.Parse(where)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %v", fedinvite.ErrBadJSON, err)
	case u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("%w: it is not https with a host", fedinvite.ErrBadJSON)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it has a user name", fedinvite.ErrBadJSON)
	case key == "":
		return nil, fmt.Errorf("%w: the key is empty", fedinvite.ErrBadJSON)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: its query: %v", fedinvite.ErrBadJSON, err)
	}
	query.Set("public_key", key)
	u.RawQuery = query.Encode()
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func readKeyValid(answer []byte) (bool, error) {
	text, err := fedinvite.LegacyCanonicalJSON(answer)
	if err != nil {
		return false, fmt.Errorf("key_validity_url: %w: %w", ErrReply, err)
	}
	var members map[string]json.RawMessage // exact names, unlike a struct
	if json.Unmarshal(text, &members) == nil {
		switch string(members["valid"]) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, fmt.Errorf("key_validity_url: %w: %w: no boolean valid", ErrReply, fedinvite.ErrBadJSON)
}

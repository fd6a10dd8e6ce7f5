package fedclient

import (
	"context"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Limits of answers with keys, in bytes.
const (
	maxKeys    = 256 << 10 // one server's
	maxQueried = 4 << 20   // a notary's, of many servers
)

// notaryFactor is how many times longer than other servers a notary may take for keys,
// because it may have to ask them for these.
const notaryFactor = 3

// FetchServerKeys returns the key document of server, unchecked, of 256 KiB at most
// (server-server API, GET /_matrix/key/v2/server). It makes the Client a Fetcher of
// package keyring. The errors are those of [Client.Do].
//
// There is one attempt, also while the server is to be left alone: a key ring has
// pauses of its own, and what it does not know it asks of each server rarely.
func (c *Client) FetchServerKeys(ctx context.Context, server fedinvite.ServerName) ([]byte, error) {
	return c.Do(ctx, Request{
		Method:        http.MethodGet,
		Destination:   server,
		Path:          []string{"_matrix", "key", "v2", "server"},
		MaxReply:      maxKeys,
		Timeout:       c.config.KeyTimeout,
		IgnoreBackoff: true,
		once:          true,
	})
}

// QueryServerKeys asks notary for the keys of other servers and returns its answer,
// unchecked, of 4 MiB at most (server-server API, POST /_matrix/key/v2/query). body says
// which. It makes the Client a NotaryFetcher of package keyring. The errors are those of
// [Client.Do].
//
// There is one attempt, as with [Client.FetchServerKeys], in three times
// [Config.KeyTimeout]. If it fails, that is not held against the notary, because the
// servers that it has to ask may be the reason.
func (c *Client) QueryServerKeys(ctx context.Context, notary fedinvite.ServerName, body []byte) ([]byte, error) {
	return c.Do(ctx, Request{
		Method:        http.MethodPost,
		Destination:   notary,
		Path:          []string{"_matrix", "key", "v2", "query"},
		Body:          body,
		MaxReply:      maxQueried,
		Timeout:       notaryFactor * c.config.KeyTimeout,
		IgnoreBackoff: true,
		once:          true,
		others:        true,
	})
}

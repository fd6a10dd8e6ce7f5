// Package keyring finds and keeps the public keys of Matrix servers, and publishes
// our own (server-server API, "Retrieving server keys").
//
// # Other servers' keys
//
// A [Ring] is a [fedinvite.KeySource]. It asks a [Fetcher] for the key document of
// a server when it must, checks the document, and remembers the keys:
//
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Local: local})
//
// A document counts if it names the server that was asked and at least one key that
// it lists has signed it. Of verify_keys, only those that signed it are used; of
// old_verify_keys all, for events from before their expiry. A key is valid until the
// document's valid_until_ts, and for seven days at most. Keys are added and replaced,
// never deleted, so that old events can still be checked when a server is gone.
//
// The Ring returns keys, also ones that are valid no longer; whoever verifies
// judges: requests need a key that is valid now, events one that was valid at their
// time, events of the first four room versions neither.
//
// # What it costs
//
// Anybody can make a server look up the keys of a made-up origin. So there is one
// fetch for a server at a time, whoever waits for it, and a number of them in all;
// a server that answered is asked again after a minute at the earliest, one that did
// not after 30 seconds, then a minute, doubling up to an hour. The number of servers
// remembered is bounded, and so is the size of their documents.
//
// # Which error means what
//
// An error that wraps [fedinvite.ErrUnknownKey] is the server's own word: it
// answered and listed no such key, or its document is no good. Any other error is an
// outage: it cannot be told now.
//
// # Our own keys
//
// A [PublishHandler] serves GET /_matrix/key/v2/server. It gets our keys from the
// same [Local] function as the Ring, which answers for our own names without any
// network.
//
// # Changing a key
//
// Publish a key before it signs. Add the new signer to LocalKeys behind the one in
// use; when peers have had the time to ask again (a Ring does so for a key that it
// does not know, after a minute at the earliest, others may take hours), put it
// first; later move the old one to Old. Peers that know only the old key refuse
// requests and replies that are signed by the new one, until they ask again.
package keyring

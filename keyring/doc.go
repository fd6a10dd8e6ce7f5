// Package keyring finds and keeps the public keys of Matrix servers, and publishes
// our own (server-server API, "Retrieving server keys").
//
// # Other servers' keys
//
// A [Ring] is a [fedinvite.KeySource]. It asks a [Fetcher] for the key document of
// a server when it must, checks the document, and remembers the keys:
//
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Local: local})
//
// A document counts if it names the server that was asked and at least one key that
// it lists has signed it. Of verify_keys, only those that signed it are used; of
// old_verify_keys all, for events from before their expiry. A key is valid until the
// document's valid_until_ts, and for seven days after the fetch at most. Keys are added
// and replaced, never deleted, so that old events can still be checked when a server is
// gone; only if there are more than 64 of one server, those go that were fetched before
// the others.
//
// The Ring returns keys, also ones that are valid no longer; whoever verifies
// judges: requests need a key that is valid now, events one that was valid at their
// time, events of the first four room versions neither.
//
// # When a server is asked
//
// A look-up asks for the server's keys if the key is not known, or not valid at the time
// that the caller names; it waits for the answer. A key that is past half of its time is
// returned at once and renewed in the background, by asking the server, unless another
// process has done so. There is one fetch for a server at
// a time, whoever waits for it, and it goes on when they stop waiting.
//
// A fetch asks, in this order, until it has what it was begun for:
//
//  1. the [Store], if there is one: another process may have been here before, or this
//     one, before it was restarted;
//  2. the server itself;
//  3. the notaries, if there are any, for what the server could not tell: everything if
//     it did not answer, and of one that did a key of an event older than an hour that it
//     lists no longer.
//
// With Config.NotariesFirst, 3 comes before 2. What was told is then saved in the Store.
// [Ring.Prefetch] does all this for many servers at once.
//
// # What it costs
//
// Anybody can make a server look up the keys of a made-up origin. So a server that
// answered is asked again after a minute at the earliest, also by other processes that
// share the Store; but those that ask at the same moment do not know of each other, so
// that each may have one fetch under way. One that did not answer is asked after 30
// seconds, then a minute, doubling up to an hour, by each process for itself; meanwhile
// the Store is asked once a minute. The number of fetches at a time is bounded, and so is
// the number of those who wait for a turn; a quarter of both is kept for servers of which
// a key is valid, so that made-up ones that take their time cannot keep us from renewing
// the keys of real ones. The number of servers remembered is bounded, those with keys
// apart from those that failed, and so is the size of their documents. Of a document with
// many keys 16 are saved: the one that was wanted, those that are current or were until
// now, and those that were given up last.
//
// Whoever has a domain has any number of servers below it. So the servers of one domain,
// by the last two labels of their names, get an eighth of the fetches and of the places to
// wait: 8 and 128, if Config.MaxFetches is not set. That is enough for a large host, and
// for a suffix such as co.uk: at a second for an answer, nearly five hundred look-ups a minute,
// and what is known takes none. Whoever has many domains is not stopped by this; a limit by
// remote address, as in package ratelimit, belongs before the first look-up.
//
// A key that is in memory costs a fifth of a microsecond and no allocation, beside
// Config.Local and Config.Refused, which are called for every look-up.
//
// # Stores
//
// A [Store] keeps the keys over a restart and shares them between processes: [Memory]
// for tests, the module keyring/sqlstore for SQL databases. What it holds is checked when
// it comes back: records that cannot be right are left out, and no validity is longer
// than seven days from now. Records from a clock that was ahead by more than two minutes
// are left out too: their server is asked, after each restart, for as long as they are
// there. A Store that fails costs requests: Config.Report is told, and servers are asked.
// One that hangs costs time too, a quarter of Config.Timeout; then it is left alone for
// ten seconds. When a look-up has fetched a key and returns, the key has been saved, but
// for what is too much of one document, or Config.Report knows why not.
//
// # Notaries
//
// A [Notary] is another server that tells what it knows of servers' keys ("Querying Keys
// Through Another Server"), useful when those are slow or gone. It is trusted: what it
// returns is a server's own document, but whether that is the document of that server,
// and not of somebody else who calls himself so, only the notary's signature says. So its
// own keys are part of the Config, and a document without a signature by one of them is
// not used; [ParseNotary] reads them from a line of a configuration file. It must also pass the checks of a document that comes directly. What is wrong
// with one document of an answer is reported and spoils no other; if the answer is too
// large, the servers are asked for in halves.
//
// A notary may take three times Config.Timeout, because it may have to ask the servers,
// and those may be slow on purpose. So one that fails is left alone only after three
// failures in a row, of questions about different domains: for 30 seconds, then a minute,
// then two.
//
// A notary's copy may be old. A key in it is valid until its valid_until_ts, and for
// seven days after the answer at most. It neither replaces the bytes of a key that came
// from the server itself nor takes its expiry back; that a key is old, told by a notary
// only, does not keep the Ring from asking the server. Where a copy has run out it serves
// old events, and the server itself is asked for more.
//
// # Which error means what
//
// An error that wraps [fedinvite.ErrUnknownKey] is the server's own word: it
// answered and listed no such key, or its document is no good. Any other error is an
// outage: it cannot be told now. Who waited for the failed fetch gets an error that wraps
// that of the [Fetcher]; later ones get a short text, which says since when and until when
// it holds, and whether it was an unknown key. If we have too much to do, that is an error
// too, also for a key that is known but has run out: it may have been renewed.
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

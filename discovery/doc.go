// Package discovery finds Matrix servers by their names and connects to them, and to
// nothing else (server-server API, "Server discovery").
//
// A [Transport] is a net/http.RoundTripper for requests to matrix://SERVERNAME/…:
//
//	transport, err := discovery.New(discovery.Config{UserAgent: "example/1.0"})
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
//
// It finds out where the server is, by .well-known delegation and SRV records,
// connects there, demands the certificate and sends the Host header that the
// specification says, and keeps the connection for the next request.
//
// # Three parts
//
// A [Resolver] answers what a server name means: a [Resolution]. A [Dialer] connects
// to addresses, public ones only unless it is told otherwise. Both can be used alone; a
// Transport makes one of each and puts them together.
//
// # Where requests may go
//
// Whoever sends a request to a homeserver, or writes a DNS record or a .well-known
// file, chooses where the homeserver connects to. Every connection of this package is
// therefore made by a Dialer, which judges the very address that it then connects to:
// names are looked up once, so there is nothing to rebind between the check and the
// connection. Addresses that are not of the public internet are refused; see
// [Public]. Private federations and tests name the exceptions in [Dialer.Allow], which
// [ParsePrefixes] reads from a configuration. There is no way round through the
// environment: its proxies are not used.
package discovery

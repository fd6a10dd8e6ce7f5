// Package fedclient makes requests to other Matrix servers, as one of our own
// (server-server API).
//
// A [Client] signs requests, keeps replies to a size, follows no redirect and turns
// refusals into a [RemoteError]. [Client.SendInvite] sends an invite and checks the
// answer. A Client is a keyring.Fetcher too, so the usual set-up is
//
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now})
//	reply, err := client.SendInvite(ctx, fedclient.InviteRequest{Event: event, Signer: signer, Keys: ring, …})
//	if err != nil {
//		tellUser(fedclient.ClientError(err))
//	}
//
// # Where requests go
//
// The Client makes requests to https://SERVERNAME/…, with the server name as host,
// whether it has a port or not, and leaves it to its [net/http.RoundTripper] to find
// out where that is. The default, [Direct], does no server discovery: it dials host
// and port of the name, or port 8448. A RoundTripper that does must leave method,
// path, query and Authorization as they are, because they are signed.
//
// # What goes wrong
//
// Errors of one request are of four kinds: a [*RemoteError], if the server refused;
// [ErrReply], if it agreed but its reply cannot be used; [ErrUnreachable], if there
// was no answer; any other is a mistake or failure on our side. [Retryable] says
// whether the same request may succeed later, [ClientError] what the client of the
// inviting user is told.
package fedclient

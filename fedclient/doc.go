// Package fedclient makes requests to other Matrix servers, as one of our own
// (server-server API).
//
// A [Client] signs requests, repeats those that fail, keeps replies to a size, follows no
// redirect and turns refusals into a [RemoteError]. It is a keyring.Fetcher and
// NotaryFetcher too. An [Inviter] makes invites
// out of what a [Room] says of the room: the author of a homeserver implements that one
// method, and the usual set-up is
//
//	local := keyring.Signers(signer)
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Local: local})
//	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
//		Client: client, Keys: ring, Room: store, Signer: local.Signer,
//	})
//
//	invited, err := inviter.Invite(ctx, fedclient.Invitation{RoomID: room, Sender: alice, Invitee: bob})
//	if err != nil {
//		tellUser(fedclient.ClientError(err))
//	}
//
// # How an invite ends
//
// [Inviter.Invite] returns an event that all have agreed to who had to: store it and send
// it into the room. The invitee's server can decline it, with [Client.Decline] or, if it is
// in the room, [Inviter.Leave], and the sender's take it back, with [Inviter.TakeBack]. If
// Invite fails, its [InviteError] says whether the invited server may have seen the invite
// all the same, and [Inviter.Resend] sends it again.
//
// Those who make their own events send them with [Client.SendInvite]; events for a server
// that is not in the room go by [Client.SendTransaction]; and
// [Client.ExchangeThirdPartyInvite] asks for an invite that began as one to an e-mail
// address.
//
// # Where requests go
//
// The Client makes requests to https://SERVERNAME/…, with the server name as host,
// whether it has a port or not, and leaves it to its [net/http.RoundTripper] to find
// out where that is. If the Config has none, that is a [discovery.Transport], which finds
// servers as the specification says ("Server discovery") and connects to public addresses
// only, because strangers choose where our requests go. Private federations and tests
// say which other addresses are theirs:
//
//	transport, err := discovery.New(discovery.Config{
//		UserAgent: "example/1.0",
//		Allow:     []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
//	})
//	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
//
// A RoundTripper of one's own decides where requests go, so it had better be put round a
// discovery.Transport. It must leave method, path, query, body and Authorization as they
// are, because they are signed, and follow no redirect. Errors it should pass on, as they
// are or wrapped. Before it connects it should call GetConn of the
// [net/http/httptrace.ClientTrace] in the request's context, as net/http does: if it
// says nothing of connections, an invite that it failed to carry counts as one that may
// have been seen; see [InviteError].
//
// # Repeated requests
//
// A request is made again, three times at most, if it was not answered, or with 429 or 5xx.
// The pauses are 0.5, 1 and 2 seconds, each times 0.8 to 1.4 at random, or as long as the
// server asks for, if that is longer. What is left of the time, by the context and
// [Config.Timeout], decides too: a pause that would outlast it is not begun, and the error
// is returned at once. So is what cannot have changed in a few seconds, wherever the server
// may be: a certificate that is not valid, no server of that name, an address that must not
// be connected to. Nothing is repeated once there is an answer other than these, even if it
// is then cut off.
//
// GET, HEAD and PUT are repeated: in this API they name what they get or put, so that twice
// is as good as once. Other methods are only if the server has not seen the request or
// answered 429. A repeated request has the signature of the first. Whoever wants to see
// each attempt gives the context a [net/http/httptrace.ClientTrace], or the Config a
// RoundTripper.
//
// # Servers that do not answer
//
// A server that has not answered, or with 429 or 5xx, is left alone for a while, which
// grows: see [MemoryBackoff]. Until then [Client.Do] and [Client.SendTransaction] return a
// [*BackoffError] without asking it. What a user waits for is asked all the same, and
// changes what is known of the server: invites, [Client.Decline],
// [Client.ExchangeThirdPartyInvite] and policy servers; so are keys, for which a key ring
// has pauses of its own. [Client.Heard] says that the server is up. [Config.Backoff] takes
// the place of all this.
//
// # What goes wrong
//
// Errors of one request are of four kinds: a [*RemoteError], if the server refused;
// [ErrReply], if it agreed but its reply cannot be used; [ErrUnreachable], if there
// was no answer; any other is a mistake or failure on our side. An Inviter has more: see
// [Inviter.Invite]. [Retryable] says whether the same request may succeed later,
// [ClientError] what the client of the inviting user is told.
package fedclient

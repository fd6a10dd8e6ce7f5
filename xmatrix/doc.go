// Package xmatrix authenticates requests between Matrix homeservers by the
// X-Matrix scheme (server-server API, "Request Authentication"). It parses, prints,
// signs and verifies, and does nothing else: the clock and the keys come from its
// user, and it never uses the network.
//
// # Receiving
//
// A [Verifier] reads what a request claims, cheaply and before its body is read,
// and checks the signature when the body is there:
//
//	v := xmatrix.Verifier{Keys: ring}
//	receiver, err := fedinvite.NewReceiver(fedinvite.Config{Credentials: v.Credentials, …})
//
// For endpoints of your own, do the same in this order: call
// [Verifier.Credentials]; make sure that the destination is a server of yours and
// that you talk to the origin at all; read the body, up to a limit; call Verify of
// the credentials; use these very bytes of the body, with a parser that refuses
// duplicate keys. A request is nothing but a claim until Verify returns nil.
//
// The signature covers the target of the request line exactly as it was sent.
// Routers may rewrite the request's URL, but a reverse proxy in front must pass the
// target on untouched: nginx without a path in proxy_pass, Apache with nocanon. If
// signatures do not verify, set Hints of the Verifier for a while: its error, which
// Done of [fedinvite.Config] gets, then says whether the target was rewritten, and how.
// A [fedinvite.Receiver] answers 404 before it looks at a signature if the path is no
// longer that of an invite, as after the loss of its front.
//
// # Sending
//
// [Sign] adds the header to an outgoing request:
//
//	req, err := http.NewRequestWithContext(ctx, "PUT", url, bytes.NewReader(body))
//	err = xmatrix.Sign(ctx, req, body, "b.example", signer)
//
// # What is covered, and what is not
//
// The signature covers method, target, origin, destination and the body as JSON, so
// that white space and the order of keys may change under way. It holds neither a
// time nor a number used once: a request may be repeated at the same server, so
// what it does should be the same the second time.
package xmatrix

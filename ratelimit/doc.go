// Package ratelimit bounds how many invites arrive: for each remote address before any
// key is fetched, and for each origin, sender, invitee and room once the request is known
// to come from its origin.
//
//	limiter, err := ratelimit.New(ratelimit.Config{})
//	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
//		Admit:  limiter.Admit,
//		Policy: policy.Chain(policy.InviteeExists(isUser), policy.BlockServers("evil.example", "*.evil.example"), …, limiter.Policy),
//		…
//	})
//
// The specification leaves rates to the servers. What is over a limit is answered by 429
// M_LIMIT_EXCEEDED with Retry-After and retry_after_ms (client-server API, "Rate
// limiting"), as [fedinvite.WriteError] writes them.
//
// # Where to put it
//
// Let [Limiter.Policy] come behind the policies that refuse for good. What they refuse
// then counts nowhere, so that nobody who is blocked can use up what an invitee or a room
// may get. Above all let policy.InviteeExists come before it: invites to users whom nobody
// has would count as well, and take up the place where real invitees are counted.
//
// A Limiter limits the deliveries that it is asked about, whichever Receiver they came
// to: have one Limiter for all of them. It keeps nothing on disk, and processes that
// share the work do not share their counts.
//
// # Who can evade what
//
// Whoever controls a DNS zone has as many origins, senders and rooms as they want. Against
// them stand the limit by invitee, of whom they cannot have more than we do if
// policy.InviteeExists comes first, and the one by remote address, which costs them an
// address each. In return an attacker can use up an invitee's limit, and others are told to
// try again later.
//
// Counts are forgotten when there are too many, those that say least first: an attacker
// has to send some 10,000 invites to others, as many as [Config].MaxEntries says, for each
// one that an invitee gets beyond the limit, and faster than the limits recover.
//
// # Behind a reverse proxy
//
// All requests then come from the proxy's address, and all peers share one limit. Let
// [ForwardedFor] set the address from the header X-Forwarded-For, which the proxy has to
// append to (nginx: $proxy_add_x_forwarded_for), or [ForwardedForUnix] if the proxy comes by
// a Unix socket.
package ratelimit

// Package fedserver answers the requests of other servers that belong to the life of an
// invite, beside the invite itself, which is fedinvite.Receiver's:
//
//   - [Leaves] lets users of other servers leave our rooms, which is how they decline
//     invites: GET make_leave, PUT send_leave;
//   - [Exchanges] turns a third-party invite to one of our rooms into an invite: PUT
//     exchange_third_party_invite;
//   - [Binds] hears from identity servers of third-party invites to our users: PUT and
//     POST 3pid/onbind. [Binder] does with them what is usual;
//   - [Transactions] takes transactions, for servers with rooms and for those that are in
//     none, and finds the leaves in them that take back the invites we hold: PUT send. The
//     events of rooms go to a hook, Next.
//
// Each is an [net/http.Handler] for its paths and can be used without HTTP too. All are
// safe for concurrent use, and serve any number of our server names.
//
// # Mounting
//
// The handlers read the path as it was sent, whatever a router has made of the
// request's URL. Mount them by prefix, as event IDs of room version 3 have slashes:
//
//	mux.Handle("/_matrix/federation/v1/make_leave/", leaves)
//	mux.Handle("/_matrix/federation/v1/send_leave/", leaves)
//	mux.Handle("/_matrix/federation/v2/send_leave/", leaves)
//	mux.Handle("/_matrix/federation/v1/exchange_third_party_invite/", exchanges)
//	mux.Handle("/_matrix/federation/v1/3pid/onbind", binds)
//	mux.Handle("/_matrix/federation/v1/send/", transactions)
//
// Other paths get 404 M_UNRECOGNIZED, other methods 405 M_UNRECOGNIZED, and every error
// has a JSON body; see [fedinvite.WireError].
//
// # What is checked, in order
//
// Path and method; the Authorization header; that the destination is ours; the size of
// the body; the request's signature. That much is [Endpoint.Authenticate], which is
// there for endpoints of your own too; only 3pid/onbind is not authenticated. What
// follows is in the comment of each type.
//
// # Hooks
//
// A hook refuses with a [*fedinvite.Error], as made by [fedinvite.Refuse]. Every other
// error of a hook, the sentinels of package fedinvite among them, becomes 500 M_UNKNOWN,
// and its text stays here: Done of [Endpoint] gets it. Without HTTP such an error is
// returned as a *fedinvite.Error of status 500 that wraps it. There are two exceptions:
// ErrNotLocal of Signer, and the errors of Credentials and of the Verify that it returns,
// which go by the table of [fedinvite.WireError].
//
// Hooks may be called concurrently. Those that only look up and decide get a context that
// ends with Timeout, as does HandleInvite of [Binds]; those that store or send get the
// caller's own: commit under [context.WithoutCancel], because it ends when the other
// server hangs up.
package fedserver

// Package policy has the policies that most homeservers want for invites: who may
// invite whom, and to which rooms. They are values for the Policy of
// [fedinvite.Config], for invites that arrive, and of fedclient.InviterConfig, for
// those between our own users. Chain them in the order in which they should refuse:
//
//	Policy: policy.Chain(
//		policy.InviteeExists(isUser),
//		policy.BlockServers("evil.example", "*.evil.example"),
//		policy.BlockUsers("@spam*:*"),
//		policy.InvitePermission(accountData),
//	),
//
// [InviteeExists] comes first, so that what is behind it is asked about users whom we have.
// Its answer is that of the block lists, so that whoever they stop does not learn who is a
// user here. The lists come next: they ask no store, and whoever they stop learns nothing
// of what our users have set. A [fedinvite.Receiver] asks its policy before it checks or
// makes any signature of the event, so that refusing costs next to nothing.
//
// # What they look at
//
// The origin, the sender, the invitee, the room ID and the event ID; nothing that
// redaction would take away. The event is not verified yet when a policy sees it,
// but its sender is a user of the origin, which has proved who it is.
//
// # What they answer
//
// nil lets the invite through. A refusal is a [*fedinvite.Error] with status 403:
// M_INVITE_BLOCKED from [InvitePermission], M_FORBIDDEN from all others, which send one
// and the same message, so that the inviting server cannot tell which of them it was.
// Err, which stays here, can. Every other error is a callback's, as it is, or says that
// a callback is missing: the invite does not pass, but the failure is ours, and the
// peer sees 500 M_UNKNOWN.
//
// # Pending invites
//
// Whoever knows a room ID (in room version 12 the create event too, which everybody has who
// was ever invited) can send an invite that names the room, and outside the room nobody can
// tell which one is real. So none may stand in another's way: keep pending invites by room,
// user and [fedinvite.Invite.Origin], and let a newer one from the same origin replace the
// older, which may have been taken back without our hearing of it. What a single server
// sends too much of is for package ratelimit; [OnePending] refuses it here, at a cost.
//
// An invite that is taken back is the one from the server of the leave's sender. A user who
// declines is done with the invites to the room from all servers, and so is one who joins:
// a leave is the user's from the room, and whoever gets it signed can send it there.
//
// # Policies of your own
//
// Every function of that type is a [Policy], and [fedinvite.Refuse] makes refusals.
// A Policy never changes. If a list does, make a new Policy from it and swap them, as
// the example of Policy does.
//
// None of this has to do with the policy servers of the specification, which rooms
// choose; see fedclient.Inviter for those.
package policy

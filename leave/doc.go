// Package leave is about how an invite ends without a join: the invited user declines
// it, or the inviter takes it back (server-server API, "Leaving Rooms (Rejecting
// Invites)"). It is pure: packages fedclient and fedserver send and receive.
//
// # Declining
//
// The invited server, which is not in the room, asks one that is for a template
// (make_leave), checks and signs it and sends it back (send_leave):
//
//	t, err := leave.ParseTemplate(body)         // what make_leave answered
//	e, err := t.Sign(ctx, departure, rules, s)  // checks it first
//
// A template is a stranger's, and what is signed is ours: only references to other
// events and the depth are taken from it, and nothing at all reaches the [fedinvite.Signer]
// before the event has passed every check. If no server helps, the invited server makes
// a leave of its own ([Local]), which only its own users see.
//
// The resident server makes the template ([NewTemplate]) and checks what comes back
// ([Check]).
//
// # Taking back
//
// The inviter's server makes a leave ([fedinvite.NewLeave]) and sends it to the invited
// server too, which is not in the room and cannot authorise it, but can see that it
// comes from the inviter and is about that invite ([CheckRescission]).
//
// # Errors
//
// They wrap the sentinels of package fedinvite. Nothing here panics because of its input.
package leave

/*
Fedinvite works with the invites that Matrix homeservers send each other: it
computes and checks events on the command line, and is a small homeserver for
the life of invites where one is needed.

See all of it at work, homeservers whose users invite each other, decline and take
back, over HTTPS on the loopback interface, in every room version:

	fedinvite demo

# Events

These read an event, or any JSON, from a file or from standard input:

	fedinvite canonical [-legacy] [FILE]
	fedinvite event     -room-version V [FILE]
	fedinvite sign      -room-version V -server NAME -key FILE [FILE]
	fedinvite verify    -room-version V -keys FILE [-signer NAME …] [FILE]
	fedinvite keygen    [-public FILE -server NAME]

For example, make a key, sign an event with it and look at the event's ID:

	(umask 077; fedinvite keygen >a.key)
	fedinvite sign -room-version 12 -server a.example -key a.key event.json |
		fedinvite event -room-version 12

# Looking at servers and requests

Where a server is, step by step, and whether it answers; and the keys that it
publishes, those that count and those that do not, compared with what a notary has:

	fedinvite resolve [-connect] [-ca FILE] [-allow PREFIX …] [-dns HOST:PORT]
	                  [-json] SERVER
	fedinvite keys    [-notary NAME -notary-key KEY …] [-ca FILE]
	                  [-allow PREFIX …] [-dns HOST:PORT] [-json] SERVER

For example, why can other servers not reach mine?

	fedinvite resolve -connect a.example

Why was an invite refused? Take the request, as it was captured, through every check
that a receiving server makes:

	fedinvite explain [-at TIME] [-server-name NAME …] [-keys FILE …] [-offline]
	                  [-room-state POLICY] [-path PATH] [-method METHOD]
	                  [-header HEADER …] [-ca FILE] [-allow PREFIX …]
	                  [-dns HOST:PORT] [-v] [-json] [FILE]

What does a homeserver of one's own make of invites? Try it, sentence by sentence of the
specification:

	fedinvite conformance -target URL -server-name NAME -invitee USER …
	                  -listen ADDR -tls-cert FILE -tls-key FILE [-name NAME]
	                  [-key FILE] [-ca FILE] [-allow PREFIX …] [-versions V,…]
	                  [-blocking USER] [-only NAME …] [-attacks] [-exchange]
	                  [-public | -json]

# Being a server

A server that receives invites, and the invite of one of its users:

	fedinvite serve   -server-name NAME -listen ADDR -key FILE
	                  -tls-cert FILE -tls-key FILE [-ca FILE] [-allow PREFIX …]
	                  [-block NAME …] [-store DIR]
	fedinvite invite  -server-name NAME -key FILE -room-version V
	                  -sender USER -to USER [-room-name NAME] [-ca FILE]
	                  [-allow PREFIX …] [-store DIR]

An invite ends when the invited user declines it or the inviting one takes it back. A
store keeps, for all commands of one server, the invites that its users hold and the
rooms that they have made:

	fedinvite decline -server-name NAME -key FILE -store DIR
	                  -room ROOMID -user USER [-reason TEXT] [-ca FILE]
	                  [-allow PREFIX …]
	fedinvite rescind -server-name NAME -key FILE -store DIR
	                  -room ROOMID -sender USER -to USER [-reason TEXT]
	                  [-ca FILE] [-allow PREFIX …]

Other servers fetch our keys before they accept anything, so these commands need a
serve of the same name and key to be running. A server whose name has no port is found
by .well-known and SRV records. Only addresses of the public internet are connected
to, and those that -allow names.

	fedinvite help COMMAND

tells more, with examples. The exit status is 0 if all went well, 1 if the input
or the peer is refused, with one line about it on standard error, and 2 if the
command was used wrongly.
*/
package main

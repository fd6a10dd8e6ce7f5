// Package invitetest helps to test code that has to do with the invites of the Matrix
// federation, as net/http/httptest does for HTTP: whatever that code is written with.
//
// A [Server] is a homeserver for one test, on loopback and by TLS: it publishes keys,
// sends and receives invites and remembers what it saw. [Server.Introduce] makes the
// server under test known to it, [Server.IntroduceHandler] a [fedinvite.Handler] alone;
// [Server.Client] and [Server.Transport] lead the server under test to it:
//
//	peer := invitetest.NewServer(t, "peer.example")
//	mine := newHomeserver("mine.example", peer.Transport()) // the server under test
//	peer.Introduce("mine.example", mine)
//
//	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
//	invite, err := peer.Invite(t.Context(), room, "@bob:mine.example")
//
// [Server.Break] has a Server fail in ways in which servers do.
//
// A [Room] makes real events of any room version, hashed and signed as servers do it, and
// a [Request] brings them to the invite endpoint. Both work without any server, and both
// also make what nobody should accept:
//
//	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
//	room.Name("Tea")
//	ban := room.Invite("@bob:mine.example", invitetest.Set("ban", "content", "membership"))
//	delivery, err := room.Request(ban, "mine.example").Delivery() // for Receiver.Receive
//
// [KeyDocument] makes what servers publish of their keys, also for the tests of a key ring.
//
// [Conformance] and [Run] put a server to the test: each [Check] proves one sentence of the
// specification. Some of them are attacks; [Attacks] lists those.
//
// # Keys and time
//
// All keys are made of the name of their server, see [Signer], so that every run signs
// alike; they are no secret, and no server outside of tests may have one. Time is real
// unless a clock is given, because other servers refuse events and keys of another time.
//
// # Misuse
//
// Functions without an error to return panic if a test gives them what makes no sense: a
// malformed server name or user ID, content that is no JSON. What a server under test does
// never makes them panic.
package invitetest

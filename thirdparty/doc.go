// Package thirdparty has the bodies of the requests by which an invite to an e-mail
// address or a phone number becomes one to a Matrix user (server-server API,
// "Third-party invites"). It is pure; eventauth.VerifyThirdParty checks the signatures,
// packages fedclient and fedserver send and receive.
//
// Somebody invited an e-mail address, and the room holds an m.room.third_party_invite
// event with a token and the keys of an identity server. Now the address belongs to a
// user of ours, and the identity server tells us:
//
//	bind, err := thirdparty.ParseBind(body)  // PUT or POST /_matrix/federation/v1/3pid/onbind
//	for _, inv := range bind.Invites {
//		body, err := inv.Exchange().MarshalJSON()
//		…                                // PUT …/exchange_third_party_invite/{roomId}
//	}
//
// The server of whoever sent the invite gets that request and makes the real invite:
//
//	x, err := thirdparty.ParseExchange(body)
//	err = x.Check(roomID, origin, destination)
//	…                                        // verify x.Signed, then an invite with
//	content := x.ThirdPartyInvite()          // content.third_party_invite
//
// # The signed object
//
// What proves all this is an object that the identity server has signed. It is kept in
// canonical form, whole and with every member that it came with, because the signature
// covers members that nobody here knows as well.
//
// # Errors
//
// They wrap the sentinels of package fedinvite. Nothing here panics because of its input,
// and no error shows the address.
package thirdparty

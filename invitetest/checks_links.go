package invitetest

// Where the specification says what is checked.
const (
	spec       = "https://spec.matrix.org/v1.19/"
	federation = spec + "server-server-api/"

	linkInvite      = federation + "#put_matrixfederationv2inviteroomideventid"
	linkInviteV1    = federation + "#put_matrixfederationv1inviteroomideventid"
	linkInviting    = federation + "#inviting-to-a-room"
	linkStandards   = federation + "#api-standards"
	linkUnsupported = federation + "#unsupported-endpoints"
	linkRequestAuth = federation + "#request-authentication"
	linkKeys        = federation + "#get_matrixkeyv2server"
	linkPublishing  = federation + "#publishing-keys"
	linkReceipt     = federation + "#checks-performed-on-receipt-of-a-pdu"
	linkAuthEvents  = federation + "#auth-events-selection"
	linkSigning     = federation + "#adding-hashes-and-signatures-to-outgoing-events"
	linkValidating  = federation + "#validating-hashes-and-signatures-on-received-events"

	linkErrors   = spec + "client-server-api/#standard-error-response"
	linkCodes    = spec + "client-server-api/#common-error-codes"
	linkSizes    = spec + "client-server-api/#size-limits"
	linkBlocking = spec + "client-server-api/#invite-permission"

	linkBase64   = spec + "appendices/#unpadded-base64"
	linkChecking = spec + "appendices/#checking-for-a-signature"

	linkV1Format    = spec + "rooms/v1/#event-format"
	linkV1Canonical = spec + "rooms/v1/#canonical-json"
	linkV3IDs       = spec + "rooms/v3/#event-ids"
	linkV4Format    = spec + "rooms/v4/#event-format"
	linkV5Validity  = spec + "rooms/v5/#signing-key-validity-period"
	linkV6Canonical = spec + "rooms/v6/#canonical-json"
	linkV12Auth     = spec + "rooms/v12/#authorisation-rules"
)

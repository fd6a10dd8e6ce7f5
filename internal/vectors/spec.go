package main

// Where the specification says it.
const (
	specSite     = "https://spec.matrix.org/" + specVersion + "/"
	specRooms    = specSite + "rooms/"
	specServer   = specSite + "server-server-api/"
	specInvite   = specServer + "#put_matrixfederationv2inviteroomideventid"
	specInviteV1 = specServer + "#put_matrixfederationv1inviteroomideventid"
	specAuth     = specServer + "#request-authentication"
	specACL      = specServer + "#server-access-control-lists-acls"
	specSigning  = specServer + "#validating-hashes-and-signatures-on-received-events"
	specAdding   = specServer + "#adding-hashes-and-signatures-to-outgoing-events"
	specReceipt  = specServer + "#checks-performed-on-receipt-of-a-pdu"
	specUnknown  = specServer + "#unsupported-endpoints"
	specSizes    = specSite + "client-server-api/#size-limits"
	specErrors   = specSite + "client-server-api/#standard-error-response"
	specStripped = specSite + "client-server-api/#stripped-state"
	specIDs      = specSite + "appendices/#identifier-grammar"
	specACLEvent = specSite + "client-server-api/#mroomserver_acl"
	specKeyTime  = specRooms + "v5/#signing-key-validity-period"
	specStrict   = specRooms + "v6/#canonical-json"
	specLoose    = specRooms + "v5/#canonical-json"
	specV8Auth   = specRooms + "v8/#authorisation-rules"
	specV12Auth  = specRooms + "v12/#authorisation-rules"
)

// specFormat is the event format of the room's version.
func specFormat(r room) string { return specRooms + "v" + r.name + "/#event-format" }

// Levels: how much the specification demands an outcome.
const (
	must     = "MUST"
	should   = "SHOULD"
	may      = "MAY"
	practice = "practice" // it does not; servers do so, or it stands to reason
)

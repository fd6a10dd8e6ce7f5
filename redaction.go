package fedinvite

// appendRedacted appends the redacted form of the canonical event text without
// signatures and unsigned (room versions, "Redactions"): the bytes that the
// reference hash covers and servers sign. members are those of text.
//
// A key that is kept keeps its value whatever its type.
func appendRedacted(dst []byte, text string, members []pair, eventType string, r *Rules) []byte {
	c := copier{dst: append(dst, '{'), text: text}
	for _, m := range members {
		key := m.key(text)
		switch {
		case key == "content":
			c.comma()
			c.dst = r.Redaction.appendContent(append(c.dst, `"content":`...), m.raw(text), eventType)
		case r.keepsTopLevel(key, eventType):
			c.keep(m)
		}
	}
	return append(c.flush(), '}')
}

func (r *Rules) keepsTopLevel(key, eventType string) bool {
	switch key {
	case "auth_events", "depth", "event_id", "hashes", "origin_server_ts",
		"prev_events", "sender", "state_key", "type":
		return true
	case "room_id":
		// A create event that names its room must not change that room's ID.
		return !r.RoomIDIsCreateEvent || eventType != typeCreate
	case "origin", "membership", "prev_state":
		return r.Redaction.KeepOrigin
	}
	return false
}

// appendContent appends the content that is left. One that is no object, which
// only the low door of [SignEventJSON] lets in, leaves an empty one.
func (r *RedactionRules) appendContent(dst []byte, content, eventType string) []byte {
	if eventType == typeCreate && r.KeepCreate && isObject(content) {
		return append(dst, content...)
	}
	dst = append(dst, '{')
	if !r.keepsAny(eventType) {
		return append(dst, '}')
	}
	for m := range membersOf(content) {
		key := m.key(content)
		thirdParty := key == "third_party_invite" && eventType == typeMember && r.KeepThirdParty && isObject(m.raw(content))
		if !thirdParty && !r.keepsContent(key, eventType) {
			continue
		}
		dst = appendComma(dst)
		if thirdParty {
			dst = appendSignedOnly(dst, m.raw(content))
			continue
		}
		dst = append(dst, content[m.start:m.end]...)
	}
	return append(dst, '}')
}

// appendSignedOnly keeps the key signed of third_party_invite. Without it an
// empty object is left, as today's servers have it.
func appendSignedOnly(dst []byte, thirdParty string) []byte {
	dst = append(dst, `"third_party_invite":{`...)
	if signed := get(thirdParty, "signed"); signed != "" {
		dst = append(dst, `"signed":`...)
		dst = append(dst, signed...)
	}
	return append(dst, '}')
}

// keepsAny spares most events the walk through their content.
func (r *RedactionRules) keepsAny(eventType string) bool {
	switch eventType {
	case typeMember, typeCreate, typeJoinRules, typePowerLevels, typeHistoryVisibility:
		return true
	case typeAliases:
		return r.KeepAliases
	case typeRedaction:
		return r.KeepRedacts
	}
	return false
}

func (r *RedactionRules) keepsContent(key, eventType string) bool {
	switch eventType {
	case typeMember:
		return key == "membership" || key == "join_authorised_via_users_server" && r.KeepAuthorisedVia
	case typeCreate:
		return key == "creator"
	case typeJoinRules:
		return key == "join_rule" || key == "allow" && r.KeepAllow
	case typePowerLevels:
		switch key {
		case "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default":
			return true
		case "invite":
			return r.KeepInvite
		}
	case typeHistoryVisibility:
		return key == "history_visibility"
	case typeAliases:
		return key == "aliases" && r.KeepAliases
	case typeRedaction:
		return key == "redacts" && r.KeepRedacts
	}
	return false
}

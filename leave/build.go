package leave

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

const (
	typeMember = "m.room.member"
	membership = "leave"

	maxIntegerJSON = 1<<53 - 1 // the greatest integer of canonical JSON
	maxBuiltSize   = 65522     // as in fedinvite.NewLeave
	maxAuthEvents  = 10        // of an event
	maxEventID     = 255       // bytes
)

// A Departure says who leaves which room, when, and what they say.
type Departure struct {
	RoomID, UserID string
	Time           time.Time // origin_server_ts, to the millisecond
	// Content is a JSON object that may hold a reason and whatever else, or nil.
	// membership is set; join_authorised_via_users_server and third_party_invite, which
	// are for joins and invites, are removed.
	Content json.RawMessage
}

// parts are what a leave is made of. References and depth may be a stranger's: they are
// canonical JSON, but nobody has looked at them before check.
type parts struct {
	rules                         fedinvite.Rules
	roomID, userID                string // valid UTF-8
	server                        fedinvite.ServerName
	time                          int64
	content                       json.RawMessage
	authEvents, prevEvents, depth json.RawMessage
}

// newParts returns the parts that are d's.
func newParts(d Departure, rules fedinvite.Rules) (*parts, error) {
	_, server, err := fedinvite.ParseUserID(d.UserID)
	if err != nil {
		return nil, err
	}
	ts, err := timestamp(d.Time)
	if err != nil {
		return nil, err
	}
	content, err := leaveContent(d.Content)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	return &parts{rules: rules, roomID: d.RoomID, userID: d.UserID, server: server, time: ts, content: content}, nil
}

func timestamp(t time.Time) (int64, error) {
	ts := t.UnixMilli()
	if ts < 0 || ts > maxIntegerJSON {
		return 0, detail.Errorf(fedinvite.ErrBadJSON, "the time is not set or out of range")
	}
	return ts, nil
}

// leaveContent returns our own content as that of a leave.
func leaveContent(raw json.RawMessage) (json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(raw) > 0 {
		text, err := fedinvite.CanonicalJSON(raw)
		if err != nil {
			return nil, err
		}
		if text[0] != '{' {
			return nil, detail.Errorf(fedinvite.ErrBadJSON, "not an object")
		}
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, fmt.Errorf("%w: %w", fedinvite.ErrBadJSON, err)
		}
	}
	delete(members, "join_authorised_via_users_server")
	delete(members, "third_party_invite")
	members["membership"] = json.RawMessage(`"` + membership + `"`)
	return encode(members)
}

// members returns the event without hashes and signatures.
func (p *parts) members() (map[string]any, error) {
	members := map[string]any{
		"auth_events":      p.authEvents,
		"content":          p.content,
		"depth":            p.depth,
		"origin_server_ts": p.time,
		"prev_events":      p.prevEvents,
		"room_id":          p.roomID,
		"sender":           p.userID,
		"state_key":        p.userID,
		"type":             typeMember,
	}
	if p.rules.EventIDs != fedinvite.EventIDServer {
		return members, nil
	}
	// An ID of our own, as fedinvite.NewLeave makes it.
	text, err := encode(members)
	if err != nil {
		return nil, err
	}
	members["event_id"] = eventID(text, p.server)
	return members, nil
}

// eventID derives an ID from the event without it. Of the hash it takes what there is room
// for: all of it unless the name of the server has more than 210 bytes. There is never
// less than none, because the server's user IDs are no longer than its event IDs.
func eventID(text []byte, server fedinvite.ServerName) string {
	hash := sha256.Sum256(text)
	local := base64.RawURLEncoding.EncodeToString(hash[:])
	return "$" + local[:min(len(local), maxEventID-len("$:")-len(server))] + ":" + string(server)
}

// sign makes the leave. All checks come before the signature.
func (p *parts) sign(ctx context.Context, s fedinvite.Signer) (*fedinvite.Event, error) {
	if s == nil {
		return nil, errors.New("no signer")
	}
	if s.ServerName() != p.server {
		return nil, &fedinvite.SignatureError{Server: p.server, Err: fmt.Errorf("%w: that server has to sign, but the signer is of %s", fedinvite.ErrSignature, s.ServerName())}
	}
	members, err := p.members()
	if err != nil {
		return nil, err
	}
	if err := p.check(members, s.KeyID()); err != nil {
		return nil, err
	}
	text, err := encode(members)
	if err != nil {
		return nil, err
	}
	signed, err := fedinvite.SignEventJSON(ctx, text, p.rules, s)
	if err != nil {
		return nil, err
	}
	return p.parse(signed)
}

// check looks at the event as it will be, with a hash and a signature that are as long
// as the real ones and mean nothing.
func (p *parts) check(members map[string]any, id fedinvite.KeyID) error {
	standIn := maps.Clone(members)
	standIn["hashes"] = map[string]string{"sha256": nothing(sha256.Size)}
	standIn["signatures"] = map[fedinvite.ServerName]map[fedinvite.KeyID]string{p.server: {id: nothing(ed25519.SignatureSize)}}
	text, err := encode(standIn)
	if err != nil {
		return err
	}
	_, err = p.parse(text)
	return err
}

// nothing returns n zero bytes in base64.
func nothing(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }

// parse parses the finished event and makes sure that it is the leave we meant.
func (p *parts) parse(text []byte) (*fedinvite.Event, error) {
	if len(text) > maxBuiltSize {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "event of %d bytes, more than %d", len(text), maxBuiltSize)
	}
	e, err := fedinvite.ParseEvent(text, p.rules)
	if err != nil {
		return nil, err
	}
	stateKey, _ := e.StateKey()
	if e.Membership() != membership {
		return nil, fedinvite.ErrNotLeave
	}
	if e.RoomID() != p.roomID || e.Sender() != p.userID || stateKey != p.userID {
		return nil, detail.Errorf(fedinvite.ErrMismatch, "not the leave of that user in that room")
	}
	if !slices.Equal(e.RequiredSigners(), []fedinvite.ServerName{p.server}) {
		return nil, detail.Errorf(fedinvite.ErrSignature, "others would have to sign too")
	}
	return e, nil
}

// encode writes canonical JSON in which integers of other servers keep their digits.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fedinvite.ErrBadJSON, err)
	}
	return fedinvite.LegacyCanonicalJSON(text)
}

// reference returns what auth_events and prev_events hold for ref in the room version.
func reference(ref fedinvite.EventRef, rules fedinvite.Rules) any {
	if rules.EventIDs != fedinvite.EventIDServer {
		return ref.ID
	}
	return []any{ref.ID, map[string]string{"sha256": base64.RawStdEncoding.EncodeToString(ref.SHA256)}}
}

// list writes the elements, raw JSON, as an array.
func list(elements ...string) json.RawMessage {
	return json.RawMessage("[" + strings.Join(elements, ",") + "]")
}

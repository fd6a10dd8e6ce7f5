package interop

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client speaks the few endpoints of the client-server API that the test needs.
type client struct {
	base   string // https://host:port
	http   *http.Client
	userID string // empty while nobody is logged in
	token  string
}

// matrixError is an answer other than 200.
type matrixError struct {
	Status  int    `json:"-"`
	Errcode string `json:"errcode"`
	Message string `json:"error"`
}

func (e *matrixError) Error() string {
	return fmt.Sprintf("status %d, %s: %s", e.Status, e.Errcode, e.Message)
}

// get decodes the answer to a GET request into out, unless that is nil.
func (c client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// do sends in (unless nil) and decodes the answer into out (unless nil; into a
// *[]byte as it is). An answer other than 200 is a [*matrixError].
func (c client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		failure := &matrixError{Status: resp.StatusCode}
		if json.Unmarshal(text, failure) != nil {
			failure.Message = string(text)
		}
		return failure
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = text
		return nil
	default:
		return json.Unmarshal(text, out)
	}
}

// register makes a user with the server's shared secret and returns a client
// on which that user is logged in.
func (c client) register(ctx context.Context, secret, name string) (client, error) {
	const path = "/_synapse/admin/v1/register"
	var challenge struct {
		Nonce string `json:"nonce"`
	}
	if err := c.get(ctx, path, &challenge); err != nil {
		return client{}, err
	}
	const password = "interop"
	mac := hmac.New(sha1.New, []byte(secret))
	_, _ = io.WriteString(mac, strings.Join([]string{challenge.Nonce, name, password, "notadmin"}, "\x00"))
	var login struct {
		UserID      string `json:"user_id"`
		AccessToken string `json:"access_token"`
	}
	err := c.do(ctx, http.MethodPost, path, map[string]any{
		"nonce":    challenge.Nonce,
		"username": name,
		"password": password,
		"admin":    false,
		"mac":      hex.EncodeToString(mac.Sum(nil)),
	}, &login)
	c.userID, c.token = login.UserID, login.AccessToken
	return c, err
}

// roomVersions lists the identifiers of the room versions the server can create.
func (c client) roomVersions(ctx context.Context) (map[string]string, error) {
	var answer struct {
		Capabilities struct {
			RoomVersions struct {
				Available map[string]string `json:"available"`
			} `json:"m.room_versions"`
		} `json:"capabilities"`
	}
	err := c.get(ctx, "/_matrix/client/v3/capabilities", &answer)
	return answer.Capabilities.RoomVersions.Available, err
}

// createRoom makes a private room and returns its identifier.
func (c client) createRoom(ctx context.Context, version, name string) (string, error) {
	var answer struct {
		RoomID string `json:"room_id"`
	}
	err := c.do(ctx, http.MethodPost, "/_matrix/client/v3/createRoom", map[string]string{
		"room_version": version,
		"name":         name,
		"preset":       "private_chat",
	}, &answer)
	return answer.RoomID, err
}

// invite invites a user into one of this user's rooms. The reason is something
// that the event's hash covers and its signatures do not.
func (c client) invite(ctx context.Context, roomID, userID string) error {
	return c.do(ctx, http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(roomID)+"/invite",
		map[string]string{"user_id": userID, "reason": "Synapse meets fedinvite."}, nil)
}

// takeBack removes an invited user from one of this user's rooms.
func (c client) takeBack(ctx context.Context, roomID, userID string) error {
	return c.do(ctx, http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(roomID)+"/kick",
		map[string]string{"user_id": userID, "reason": "A mistake."}, nil)
}

// decline refuses an invite.
func (c client) decline(ctx context.Context, roomID string) error {
	return c.do(ctx, http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(roomID)+"/leave",
		map[string]string{"reason": "No time."}, nil)
}

// membership returns what one of this user's rooms says of a user, and who says it.
func (c client) membership(ctx context.Context, roomID, userID string) (membership, sender string, err error) {
	var answer struct {
		Sender  string `json:"sender"`
		Content struct {
			Membership string `json:"membership"`
		} `json:"content"`
	}
	err = c.get(ctx, "/_matrix/client/v3/rooms/"+url.PathEscape(roomID)+"/state/m.room.member/"+url.PathEscape(userID)+"?format=event", &answer)
	return answer.Content.Membership, answer.Sender, err
}

// strippedEvent is a piece of room state as a client sees it before it joins.
type strippedEvent struct {
	Type     string         `json:"type"`
	StateKey string         `json:"state_key"`
	Sender   string         `json:"sender"`
	Content  map[string]any `json:"content"`
}

// roomName picks the room's name out of the state that comes with an invite.
func roomName(state []strippedEvent) string {
	for _, event := range state {
		if event.Type == "m.room.name" && event.StateKey == "" {
			name, _ := event.Content["name"].(string)
			return name
		}
	}
	return ""
}

// awaitInvite syncs until the user has an invite into the room, and returns the
// room state that came with it.
func (c client) awaitInvite(ctx context.Context, roomID string) ([]strippedEvent, error) {
	var state []strippedEvent
	err := c.awaitSync(ctx, func(rooms syncedRooms) bool {
		room, ok := rooms.Invite[roomID]
		state = room.InviteState.Events
		return ok
	})
	if err != nil {
		return nil, fmt.Errorf("no invite into %s: %w", roomID, err)
	}
	return state, nil
}

// awaitNoInvite syncs until the user is told that the invite into the room is gone.
// The user has had it before.
func (c client) awaitNoInvite(ctx context.Context, roomID string) error {
	first := true
	err := c.awaitSync(ctx, func(rooms syncedRooms) bool {
		_, invited := rooms.Invite[roomID]
		_, left := rooms.Leave[roomID]
		gone := left || first && !invited
		first = false
		return gone
	})
	if err != nil {
		return fmt.Errorf("the invite into %s stays: %w", roomID, err)
	}
	return nil
}

// syncedRooms is what a sync tells of rooms.
type syncedRooms struct {
	Invite map[string]struct {
		InviteState struct {
			Events []strippedEvent `json:"events"`
		} `json:"invite_state"`
	} `json:"invite"`
	Leave map[string]json.RawMessage `json:"leave"`
}

// awaitSync syncs until done says so.
func (c client) awaitSync(ctx context.Context, done func(syncedRooms) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// Synapse answers an initial sync from a cache, so that an invite may only
	// show up in the incremental ones that follow.
	path := "/_matrix/client/v3/sync"
	for {
		var answer struct {
			NextBatch string      `json:"next_batch"`
			Rooms     syncedRooms `json:"rooms"`
		}
		if err := c.get(ctx, path, &answer); err != nil {
			return err
		}
		if done(answer.Rooms) {
			return nil
		}
		path = "/_matrix/client/v3/sync?timeout=5000&since=" + url.QueryEscape(answer.NextBatch)
	}
}

// blockInvites has the server refuse every invite to this user.
func (c client) blockInvites(ctx context.Context) error {
	path := "/_matrix/client/v3/user/" + url.PathEscape(c.userID) + "/account_data/m.invite_permission_config"
	return c.do(ctx, http.MethodPut, path, map[string]string{"default_action": "block"}, nil)
}

package interop

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// storedScript reads and verifies a membership event with Synapse's own code.
//
//go:embed stored.py
var storedScript string

// storedMember is a membership event as Synapse has stored it.
type storedMember struct {
	EventID string `json:"event_id"`
	Event   event  `json:"event"`
}

// event is the part of a federation event that the test looks at.
type event struct {
	RoomID     string                       `json:"room_id"`
	Sender     string                       `json:"sender"`
	StateKey   string                       `json:"state_key"`
	Signatures map[string]map[string]string `json:"signatures"`
}

// storedInvite fetches an invite, which both servers must have signed.
func (h *homeserver) storedInvite(ctx context.Context, f *commandServer, roomID, userID string) (storedMember, error) {
	return h.storedMember(ctx, f.ca, roomID, userID, "invite", h.name, f.name)
}

// storedMember fetches a membership event from Synapse's database, which is the only
// place that shows the signatures. That the servers have signed it, and that the
// signatures hold, is for Synapse's code to say.
func (h *homeserver) storedMember(ctx context.Context, ca *authority, roomID, userID, membership string, servers ...string) (storedMember, error) {
	var stored storedMember
	keys := make(map[string]map[string]string)
	for _, name := range servers {
		var err error
		if keys[name], err = fetchKeys(ctx, ca, name); err != nil {
			return stored, err
		}
	}
	input, err := json.Marshal(keys)
	if err != nil {
		return stored, err
	}
	cmd := exec.CommandContext(ctx, h.venv.python(), "-c", storedScript, h.database, roomID, userID, membership)
	cmd.Stdin = bytes.NewReader(input)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return stored, fmt.Errorf("the stored %s: %w: %s", membership, err, stderr.String())
	}
	return stored, json.Unmarshal(output, &stored)
}

// fetchKeys asks a server for its current signing keys, as a map from key
// identifiers to public keys.
func fetchKeys(ctx context.Context, ca *authority, name string) (map[string]string, error) {
	var answer struct {
		VerifyKeys map[string]struct {
			Key string `json:"key"`
		} `json:"verify_keys"`
	}
	c := client{base: "https://" + name, http: ca.client}
	if err := c.get(ctx, "/_matrix/key/v2/server", &answer); err != nil {
		return nil, fmt.Errorf("the keys of %s: %w", name, err)
	}
	keys := make(map[string]string)
	for id, key := range answer.VerifyKeys {
		keys[id] = key.Key
	}
	return keys, nil
}

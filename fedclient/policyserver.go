package fedclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// policyKeyID is the key ID of every policy server's signatures.
const policyKeyID fedinvite.KeyID = "ed25519:policy_server"

// A PolicyError is the answer of a room's policy server, or the lack of one: the event
// must not be sent. Err is a [*RemoteError] if it refused; else it wraps
// [fedinvite.ErrBadKey] if the room names a key by which nothing can be signed,
// [ErrReply] if the answer has no valid signature, or [ErrUnreachable].
type PolicyError struct {
	Server fedinvite.ServerName
	Err    error
}

// Error returns the name of the server and the text of Err.
func (e *PolicyError) Error() string {
	text := e.Err.Error()
	if strings.Contains(text, string(e.Server)) { // it was a request to that server
		return "policy server: " + text
	}
	return "policy server " + string(e.Server) + ": " + text
}

// Unwrap returns Err.
func (e *PolicyError) Unwrap() error { return e.Err }

// A policyServer is whom a room wants to be asked before anything is sent into it.
type policyServer struct {
	name fedinvite.ServerName
	key  fedinvite.VerifyKey
}

// findPolicyServer finds out whether the room has a policy server (server-server API,
// "Determining if a Policy Server is enabled in a room"). One whose key is none can sign
// nothing, so that nothing may be sent.
func (c *composition) findPolicyServer(context.Context) error {
	event := c.room.State.Get(policyKey.Type, policyKey.Key)
	if event == nil {
		return nil
	}
	var via, key *string // by null they stay nil
	if json.Unmarshal([]byte(event.ContentJSON("via")), &via) != nil || via == nil ||
		json.Unmarshal([]byte(event.ContentJSON("public_keys", "ed25519")), &key) != nil || key == nil {
		return nil
	}
	name, err := fedinvite.ParseServerName(*via)
	switch {
	case err != nil:
		return nil
	case c.room.Joined == nil:
		return fmt.Errorf("%w: the room names a policy server, but Joined is nil", ErrSnapshot)
	case !c.room.Joined(name):
		return nil
	}
	public, err := fedinvite.ParsePublicKey(*key)
	if err != nil {
		return &PolicyError{name, fmt.Errorf("m.room.policy: %w", err)}
	}
	for _, own := range [...]fedinvite.Signer{c.signer, c.inviteeSigner} {
		if own != nil && own.ServerName() == name && own.KeyID() == policyKeyID {
			return fmt.Errorf("fedclient: our own signing key has the ID of policy servers' keys, %s", policyKeyID)
		}
	}
	c.policy = &policyServer{name, fedinvite.VerifyKey{Public: public}}
	return nil
}

// askPolicyServer adds the policy server's signature (server-server API, "Asking for a
// Policy Server signature on an event").
func (c *composition) askPolicyServer(ctx context.Context) error {
	if c.policy == nil {
		return nil
	}
	answer, err := c.config.Client.Do(ctx, Request{
		Method:        http.MethodPost,
		Destination:   c.policy.name,
		Path:          []string{"_matrix", "policy", "v1", "sign"},
		Body:          c.text,
		Signer:        c.signer,
		IgnoreBackoff: true, // a user waits for it
	})
	switch {
	case isHookError(err):
		return err
	case err != nil:
		return &PolicyError{c.policy.name, err}
	}
	signed, err := c.policy.merge(c.event, answer)
	if err != nil {
		return &PolicyError{c.policy.name, fmt.Errorf("%w: %w", ErrReply, err)}
	}
	c.event, c.text = signed, signed.AppendJSON(nil)
	return nil
}

// merge takes the one signature out of the answer that was asked for, and verifies it.
func (p *policyServer) merge(event *fedinvite.Event, answer []byte) (*fedinvite.Event, error) {
	text, err := fedinvite.LegacyCanonicalJSON(answer)
	if err != nil {
		return nil, err
	}
	var servers, keys map[string]json.RawMessage // exact names, unlike a struct
	var encoded string
	if json.Unmarshal(text, &servers) != nil ||
		json.Unmarshal(servers[string(p.name)], &keys) != nil ||
		json.Unmarshal(keys[string(policyKeyID)], &encoded) != nil {
		return nil, fmt.Errorf("%w: there is none of %s by %s", fedinvite.ErrSignature, p.name, policyKeyID)
	}
	signature, err := fedinvite.DecodeBase64(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fedinvite.ErrSignature, err)
	}
	return event.WithForeignSignature(p.name, policyKeyID, p.key, signature)
}

package invitetest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// verify demands the signatures of all who have to have signed.
func (w *weak) verify(ctx context.Context, e *fedinvite.Event, sender, origin fedinvite.ServerName) error {
	if w.lacks("event signature") {
		return nil
	}
	for _, server := range w.signers(e, sender, origin) {
		if err := w.signedBy(ctx, e, server); err != nil {
			return err
		}
	}
	return nil
}

func (w *weak) signers(e *fedinvite.Event, sender, origin fedinvite.ServerName) (all []fedinvite.ServerName) {
	kept := e
	if !e.HashOK() && !w.lacks("signers of the kept copy") {
		kept = e.Redacted()
	}
	if !w.lacks("sender signs") && !strings.HasPrefix(kept.ContentJSON("third_party_invite"), "{") {
		all = append(all, sender)
	}
	if !w.lacks("origin signs") {
		all = append(all, origin)
	}
	if _, server, ok := strings.Cut(e.ID(), ":"); ok && !w.lacks("event ID signs") {
		all = append(all, fedinvite.ServerName(server))
	}
	if via := kept.ContentJSON("join_authorised_via_users_server"); via != "" && !w.lacks("authorising server signs") {
		_, server, _ := strings.Cut(strings.Trim(via, `"`), ":")
		all = append(all, fedinvite.ServerName(server))
	}
	if w.lacks("only required keys") {
		for server := range invitetest.Decode(e.Signatures()) {
			if server != string(sender) {
				for id := range signaturesOf(e, fedinvite.ServerName(server)) {
					_, _ = w.keys.VerifyKey(context.Background(), fedinvite.ServerName(server), fedinvite.KeyID(id), time.Time{})
				}
			}
		}
	}
	return all
}

func signaturesOf(e *fedinvite.Event, server fedinvite.ServerName) invitetest.Object {
	of, _ := invitetest.Decode(e.Signatures())[string(server)].(invitetest.Object)
	return of
}

// signedBy demands a signature of a server.
func (w *weak) signedBy(ctx context.Context, e *fedinvite.Event, server fedinvite.ServerName) error {
	message, _, err := fedinvite.SignedJSON(e.Redacted().AppendJSON(nil))
	if err != nil {
		return err
	}
	good, bad := 0, 0
	for id, value := range signaturesOf(e, server) {
		key, err := w.key(ctx, server, fedinvite.KeyID(id))
		if err != nil || e.Rules().EnforceKeyValidity && !key.ValidAt(e.OriginServerTS()) && !w.lacks("key validity") {
			continue
		}
		text, _ := value.(string)
		if w.verifies(key, message, text) {
			good++
		} else {
			bad++
		}
	}
	if good == 0 || bad > 0 && !w.lacks("every signature") {
		return fmt.Errorf("%w: %d signatures of %s are good, %d are not", errRefused, good, server, bad)
	}
	return nil
}

var noBase64 = regexp.MustCompile(`(?s)=.*|[^A-Za-z0-9+/]`)

func (w *weak) verifies(key fedinvite.VerifyKey, message []byte, text string) bool {
	if w.lacks("base64") {
		text = noBase64.ReplaceAllString(text, "")
	}
	signature, err := fedinvite.DecodeBase64(text)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return false
	}
	if w.lacks("order of the group") {
		signature = reduced(signature)
	}
	if w.lacks("sound keys") {
		return ed25519.Verify(key.Public, message, signature)
	}
	return key.Verify(message, signature) == nil
}

// reduced takes the order of the group off S, if that is above it.
func reduced(signature []byte) []byte {
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	s = new(big.Int).Mod(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(s)
	return append(slices.Clone(signature[:32]), s...)
}

// key finds a key: in the Ring or, carelessly, by asking each time and believing everything.
func (w *weak) key(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID) (k fedinvite.VerifyKey, err error) {
	if !w.lacks("keys are kept") && !w.lacks("sound keys") {
		return w.keys.VerifyKey(ctx, server, id, time.Time{})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(server)+"/_matrix/key/v2/server", nil)
	if err != nil {
		return k, err
	}
	res, err := w.peer.Transport().RoundTrip(req)
	if err != nil {
		return k, err
	}
	defer res.Body.Close()
	var document struct {
		Keys map[fedinvite.KeyID]struct{ Key string } `json:"verify_keys"`
	}
	if err := json.NewDecoder(res.Body).Decode(&document); err != nil {
		return k, err
	}
	if k.Public, err = fedinvite.DecodeBase64(document.Keys[id].Key); len(k.Public) != ed25519.PublicKeySize {
		return k, fedinvite.ErrUnknownKey
	}
	return k, err
}

package invitetest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// keyChecks are about the keys that a server publishes.
func keyChecks() []Check {
	check := func(name string, level Level, sentence, link string, run func(*probe, keyDocument)) Check {
		return Check{Name: "keys/" + name, Sentence: sentence, Link: link, Level: level, run: func(p *probe) {
			if d, ok := p.keyDocument(); ok {
				run(p, d)
			}
		}}
	}
	return []Check{
		check("document", Must, "The key document has server_name, verify_keys, signatures and valid_until_ts.", linkKeys, checkKeyDocument),
		check("server-name", Must, "server_name is the homeserver's server name.", linkKeys, checkKeyServerName),
		check("signatures", Must, "The key document is signed by each of its verify_keys.", linkKeys, checkKeySignatures),
		check("valid", Must, "Keys used beyond valid_until_ts are invalid: it lies in the future.", linkKeys, checkKeyValid(0)),
		check("valid-an-hour", Should, "Servers should avoid returning responses that expire in less than an hour.", linkKeys, checkKeyValid(time.Hour)),
		check("key-ids", Must, "The version in a key ID has characters of [a-zA-Z0-9_].", linkKeys, checkKeyIDs),
		check("base64", Must, "Keys and signatures are in unpadded base64.", linkBase64, checkKeyBase64),
		check("old-keys", Must, "Each of old_verify_keys has key and expired_ts, which lies in the past.", linkKeys, checkOldKeys),
		check("content-type", Must, "Servers must include a Content-Type header of application/json for all JSON responses.", linkStandards,
			func(p *probe, d keyDocument) { p.isJSON(d.answer) }),
	}
}

// A keyDocument is the answer of GET /_matrix/key/v2/server.
type keyDocument struct {
	answer
	members          map[string]json.RawMessage
	verify, old      map[string]json.RawMessage
	verifyErr, noOld error
}

// keyDocument fetches the key document.
func (p *probe) keyDocument() (d keyDocument, ok bool) {
	if p.target.Keys != nil {
		p.skip("its keys are not those that it publishes")
		return d, false
	}
	return p.readKeyDocument(p.get(keysPath))
}

func (p *probe) readKeyDocument(a answer) (d keyDocument, ok bool) {
	d.answer = a
	if !p.answered(a) {
		return d, false
	}
	if d.status != http.StatusOK {
		p.departs("it %s to GET %s", d.answer, keysPath)
		return d, false
	}
	var err error
	if d.members, err = members(d.body); err != nil {
		p.departs("its key document: %v", err)
		return d, false
	}
	d.verify, d.verifyErr = members(d.members["verify_keys"])
	d.old, d.noOld = members(d.members["old_verify_keys"])
	return d, true
}

func checkKeyDocument(p *probe, d keyDocument) {
	for _, name := range []string{"server_name", "verify_keys", "signatures", "valid_until_ts"} {
		if d.members[name] == nil {
			p.departs("it lacks %s", name)
		}
	}
	if d.verifyErr != nil {
		p.departs("verify_keys: %v", d.verifyErr)
	}
	if _, err := members(d.members["signatures"]); err != nil {
		p.departs("signatures: %v", err)
	}
	if _, err := strconv.ParseInt(string(d.members["valid_until_ts"]), 10, 64); err != nil {
		p.departs("valid_until_ts is no integer")
	}
	for id, entry := range d.verify {
		if _, ok := keyOfEntry(entry); !ok {
			p.departs("%q of verify_keys has no key that is a string", id)
		}
	}
	if len(d.verify) == 0 {
		p.departs("there is nothing in verify_keys")
	}
}

// keyOfEntry reads an entry of verify_keys or old_verify_keys.
func keyOfEntry(entry json.RawMessage) (key string, ok bool) {
	o, err := members(entry)
	if err != nil {
		return "", false
	}
	return stringOf(o["key"])
}

func checkKeyServerName(p *probe, d keyDocument) {
	if name, _ := stringOf(d.members["server_name"]); name != string(p.target.Name) {
		p.departs("it is %q, and the server is %q", name, p.target.Name)
	}
}

func checkKeySignatures(p *probe, d keyDocument) {
	message, signatures, err := fedinvite.SignedJSON(d.body)
	if err != nil {
		p.departs("%v", err)
		return
	}
	signers, err := members(signatures)
	if err != nil {
		p.departs("signatures: %v", err)
		return
	}
	own, _ := members(signers[string(p.target.Name)]) // none, if it is no object
	usable := 0
	for id, entry := range d.verify {
		if !strings.HasPrefix(id, "ed25519:") {
			continue
		}
		usable++
		text, _ := keyOfEntry(entry)
		key, err := fedinvite.ParsePublicKey(text)
		if err != nil {
			p.departs("%q: %v", id, err)
			continue
		}
		signature, _ := stringOf(own[id])
		raw, err := fedinvite.DecodeBase64(signature)
		if err == nil {
			err = fedinvite.VerifyKey{Public: key}.Verify(message, raw)
		}
		if err != nil {
			p.departs("no good signature by %q", id)
		}
	}
	if usable == 0 {
		p.departs("there is no Ed25519 key in verify_keys")
	}
}

// checkKeyValid demands that the keys are valid for a while.
func checkKeyValid(least time.Duration) func(*probe, keyDocument) {
	return func(p *probe, d keyDocument) {
		ms, err := strconv.ParseInt(string(d.members["valid_until_ts"]), 10, 64)
		if err != nil {
			p.departs("valid_until_ts is no integer")
			return
		}
		if left := time.Until(time.UnixMilli(ms)); left < least {
			p.departs("it ends in %s", left.Round(time.Second))
		}
	}
}

func checkKeyIDs(p *probe, d keyDocument) {
	for _, keys := range []map[string]json.RawMessage{d.verify, d.old} {
		for id := range keys {
			_, version, ok := strings.Cut(id, ":")
			if !ok || version == "" || strings.Trim(version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				p.departs("%q", id)
			}
		}
	}
}

func checkKeyBase64(p *probe, d keyDocument) {
	for _, keys := range []map[string]json.RawMessage{d.verify, d.old} {
		for id, entry := range keys {
			text, _ := keyOfEntry(entry)
			if err := unpadded(text); err != nil {
				p.departs("the key %q: %v", id, err)
			}
		}
	}
	for id, raw := range p.signaturesOf(d.body, p.target.Name) {
		text, _ := stringOf(raw)
		if err := unpadded(text); err != nil {
			p.departs("the signature by %q: %v", id, err)
		}
	}
}

// unpadded returns an error if a text is no unpadded base64.
func unpadded(text string) error {
	if i := strings.IndexAny(text, "\r\n"); i >= 0 { // which the decoder leaves out
		return base64.CorruptInputError(i)
	}
	_, err := base64.RawStdEncoding.DecodeString(text)
	return err
}

func checkOldKeys(p *probe, d keyDocument) {
	switch {
	case d.members["old_verify_keys"] == nil || d.noOld == nil && len(d.old) == 0:
		p.skip("it has no old keys")
		return
	case d.noOld != nil:
		p.departs("old_verify_keys: %v", d.noOld)
		return
	}
	for id, entry := range d.old {
		o, err := members(entry)
		if err != nil {
			p.departs("%q: %v", id, err)
			continue
		}
		if _, ok := stringOf(o["key"]); !ok {
			p.departs("%q has no key that is a string", id)
		}
		ms, err := strconv.ParseInt(string(o["expired_ts"]), 10, 64)
		if err != nil || ms > time.Now().UnixMilli() {
			p.departs("%q has no expired_ts of the past", id)
		}
	}
}

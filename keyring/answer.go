package keyring

import (
	"bytes"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	// maxAnswer is the size of a notary's answer, in bytes.
	maxAnswer = 4 << 20
	// maxDocuments are looked at of one server; a notary may have one for each key.
	maxDocuments = 64
)

// A notaryAnswer is what a notary tells.
type notaryAnswer struct {
	good   []telling // one for a server at most
	faults []error   // of documents that are not used, one for a server at most
}

// read reads the answer to a question about batch that was put at now. Its documents may
// come in any order, and several of one server: old ones are good for old events. A
// fault of one document does not spoil the others; the error is about the answer as a
// whole.
func (n *notary) read(raw []byte, batch []question, now time.Time) (notaryAnswer, error) {
	documents, err := readAnswer(raw, maxDocuments*(len(batch)+1))
	if err != nil {
		return notaryAnswer{}, err
	}
	var answer notaryAnswer
	faults := make(map[fedinvite.ServerName]bool)
	fault := func(server fedinvite.ServerName, err error) {
		if !faults[server] {
			faults[server] = true
			answer.faults = append(answer.faults, err)
		}
	}
	tellings := make([]telling, len(batch))
	asked := make(map[fedinvite.ServerName]*telling, len(batch))
	for i, q := range batch {
		tellings[i] = telling{q: q, at: now.UnixMilli(), notary: true}
		asked[q.server] = &tellings[i]
	}
	count := make(map[fedinvite.ServerName]int, len(batch))
	for _, document := range documents {
		server, text, err := nameOf(document)
		t := asked[server]
		if err != nil || t == nil {
			if err == nil {
				err = fmt.Errorf("%w: a document of %.255q, which was not asked for", fedinvite.ErrMismatch, server)
			}
			fault("", err)
			continue
		}
		if count[server]++; count[server] > maxDocuments {
			fault(server, fmt.Errorf("%w: more than %d documents of %q", fedinvite.ErrTooLarge, maxDocuments, server))
			continue
		}
		records, err := n.readDocument(text, server, now)
		if err != nil {
			fault(server, err)
			continue
		}
		t.records = append(t.records, secondHand(records)...)
	}
	answer.good = withRecords(tellings)
	return answer, nil
}

// nameOf returns the server that a document of an answer is of, as it says, and its
// canonical form.
func nameOf(document []byte) (server fedinvite.ServerName, text []byte, err error) {
	if len(document) > maxDocument {
		return "", nil, fmt.Errorf("%w: a document of %d bytes", fedinvite.ErrTooLarge, len(document))
	}
	if text, err = fedinvite.LegacyCanonicalJSON(document); err != nil {
		return "", nil, err
	}
	members, _ := object(text)
	name, _ := str(members["server_name"])
	return fedinvite.ServerName(name), text, nil
}

// readDocument reads a document of server's, which n and the server must have signed.
func (n *notary) readDocument(text []byte, server fedinvite.ServerName, now time.Time) ([]Record, error) {
	message, all, err := fedinvite.SignedJSON(text)
	if err != nil {
		return nil, err
	}
	servers, _ := object(all)
	signatures, _ := object(servers[string(n.server)])
	for id, key := range n.keys {
		encoded, _ := str(signatures[string(id)])
		signature, err := fedinvite.DecodeBase64(encoded)
		if err == nil && key.Verify(message, signature) == nil && !(n.refused != nil && n.refused(key.Public)) {
			return readDocument(text, server, now)
		}
	}
	return nil, fmt.Errorf("%w: no pinned key has signed the document of %q", fedinvite.ErrSignature, server)
}

// secondHand returns records as those of a notary: never had from the server itself,
// so that they cannot outweigh what was.
func secondHand(records []Record) []Record {
	for i := range records {
		records[i].Fetched = time.Time{}
	}
	return records
}

// readAnswer returns the documents of an answer, unchecked: other servers have written
// them, so that they are judged one by one. Of the rest of the answer the notary is the
// author, so that a fault there is one of all.
func readAnswer(raw []byte, most int) ([][]byte, error) {
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("%w: an answer of %d bytes", fedinvite.ErrTooLarge, len(raw))
	}
	rest, documents := splitAnswer(raw, most)
	if len(documents) > most {
		return nil, fmt.Errorf("%w: an answer of more than %d documents", fedinvite.ErrTooLarge, most)
	}
	text, err := fedinvite.LegacyCanonicalJSON(rest)
	if err != nil {
		return nil, err
	}
	answer, _ := object(text)
	if string(answer["server_keys"]) != "[]" {
		return nil, fmt.Errorf("%w: no array server_keys", fedinvite.ErrBadJSON)
	}
	return documents, nil
}

// splitAnswer takes the elements of the top-level array server_keys out of raw, and returns
// them, one more than most at most. It looks for their ends only, and judges nothing: where
// raw is no JSON, the rest or an element is not either.
func splitAnswer(raw []byte, most int) (rest []byte, elements [][]byte) {
	const outside = -1
	var name []byte            // the last string in the object
	depth, begin := 0, outside // of the element
	kept := 0                  // up to where raw is in rest
	end := func(i int) {
		element := bytes.TrimSpace(raw[begin:i])
		empty := len(element) == 0 && len(elements) == 0 && raw[i] == ']'
		if !empty && len(elements) <= most {
			elements = append(elements, element)
		}
		begin = i + 1
	}
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			length := stringLength(raw[i:])
			if depth == 1 {
				name = raw[i : i+length]
			}
			i += length - 1
		case '{', '[':
			if depth++; depth == 2 && raw[i] == '[' && begin == outside && string(name) == `"server_keys"` {
				begin, kept = i+1, i+1
				rest = append(rest, raw[:begin]...)
			}
		case ',':
			if depth == 2 && begin != outside {
				end(i)
			}
		case '}', ']':
			if depth--; depth == 1 && begin != outside {
				end(i)
				begin, kept, name = outside, i, nil
			}
		}
	}
	return append(rest, raw[kept:]...), elements
}

// stringLength returns the length of the JSON string that raw begins with, or that of raw if
// it does not end.
func stringLength(raw []byte) int {
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}

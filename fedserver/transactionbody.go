package fedserver

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
)

// What a transaction may hold (server-server API, "Transactions").
const (
	maxPDUs            = 50
	maxEDUs            = 100
	maxTransactionBody = (maxPDUs + maxEDUs) << 16 // bytes: of 64 KiB each
)

// A transaction has been read: the objects among its PDUs and EDUs, in order and in
// canonical form.
type transaction struct{ pdus, edus []json.RawMessage }

// readTransaction reads a transaction. That origin is who sent it has been proven, so it
// need not say so, but must not say otherwise.
func readTransaction(body []byte, origin fedinvite.ServerName) (transaction, error) {
	var t transaction
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return t, err
	}
	m := gjson.GetManyBytes(text, "origin", "pdus", "edus")
	if m[0].Exists() && (m[0].Type != gjson.String || m[0].Str != string(origin)) {
		return t, detail.Errorf(fedinvite.ErrMismatch, "the origin of the transaction and that of the request")
	}
	if t.pdus, err = objectsOf("pdus", m[1], maxPDUs); err != nil {
		return t, err
	}
	t.edus, err = objectsOf("edus", m[2], maxEDUs)
	return t, err
}

// objectsOf returns copies of the objects in an array of at most that many elements; there
// may be no array.
func objectsOf(name string, list gjson.Result, most int) ([]json.RawMessage, error) {
	if !list.Exists() {
		return nil, nil
	}
	if !list.IsArray() {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "%s is not an array", name)
	}
	var objects []json.RawMessage
	n := 0
	list.ForEach(func(_, element gjson.Result) bool {
		if element.IsObject() {
			objects = append(objects, json.RawMessage(element.Raw))
		}
		n++
		return n <= most
	})
	if n > most {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "too many %s", name)
	}
	return objects, nil
}

// results say how PDUs were handled, by event ID.
type results map[string]result

// A result says how a PDU was handled.
type result struct {
	Error string `json:"error,omitempty"`
}

// add adds what a peer may know of err to the results, unless the event's ID is unknown.
func (r results) add(eventID string, err error) {
	switch told := fedinvite.WireError(err); {
	case eventID == "":
	case told == nil:
		r[eventID] = result{}
	default: // no error may look like success
		r[eventID] = result{cmp.Or(told.Message, string(told.Code))}
	}
}

// again reports whether the PDU has to come again because of err.
func again(err error) bool {
	if err == nil {
		return false
	}
	status := fedinvite.WireError(err).HTTPStatus()
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

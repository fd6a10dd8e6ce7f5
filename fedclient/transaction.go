package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	maxTransactionEvents = 50
	maxTransactionID     = 255 // bytes
)

// A Transaction is a batch of events for one server (server-server API, "Transactions").
// All of it is required.
type Transaction struct {
	// ID is unique among the transactions of the signer's server: 1 to 255 bytes, not "."
	// or "..".
	ID          string
	Destination fedinvite.ServerName
	Events      []*fedinvite.Event // 1 to 50; they go as they are, unsigned and all
	Time        time.Time          // origin_server_ts, to the millisecond
	Signer      fedinvite.Signer   // of the server that sends
}

// SendTransaction sends t, without EDUs, and returns what the server says of each event
// that it did not take, by event ID (server-server API, PUT
// /_matrix/federation/v1/send/{txnId}). The text is the peer's, at most 512 bytes, and
// may be empty. An event that the answer says nothing of was taken; what it says of
// others is dropped.
//
// One with an error may be sent again, as it is, with the same ID, and should be, if
// [Retryable] says so, before any other to this server. A server that is left alone gets
// none: see [BackoffError]. Errors are those of [Client.Do]; [ErrReply] also for an answer
// that is not as the specification wants it. What cannot be sent wraps
// [fedinvite.ErrBadJSON], as [fedinvite.ErrTooDeep] for an event that is nested more than
// 126 deep, or [fedinvite.ErrTooLarge].
func (c *Client) SendTransaction(ctx context.Context, t Transaction) (failed map[string]string, err error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("fedclient: transaction not sent: %w", err)
	}
	body, err := t.body()
	if err != nil {
		return nil, fmt.Errorf("fedclient: transaction not sent: %w", err)
	}
	answer, err := c.Do(ctx, Request{
		Method:      http.MethodPut,
		Destination: t.Destination,
		Path:        []string{"_matrix", "federation", "v1", "send", t.ID},
		Body:        body,
		Signer:      t.Signer,
	})
	if err != nil {
		return nil, err
	}
	if failed, err = t.readResults(answer); err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrReply, t.Destination, err)
	}
	return failed, nil
}

func (t *Transaction) check() error {
	switch {
	case t.Signer == nil:
		return errors.New("Transaction.Signer is required")
	case t.ID == "" || t.ID == "." || t.ID == "..": // dots are lost from paths
		return fmt.Errorf("%w: Transaction.ID %q", fedinvite.ErrBadJSON, t.ID)
	case len(t.ID) > maxTransactionID:
		return fmt.Errorf("%w: Transaction.ID of %d bytes, more than %d", fedinvite.ErrTooLarge, len(t.ID), maxTransactionID)
	case !utf8.ValidString(t.ID):
		return fmt.Errorf("%w: Transaction.ID", fedinvite.ErrBadText)
	case t.Time.UnixMilli() < 0: // the zero time, too
		return fmt.Errorf("%w: Transaction.Time is not set or before 1970", fedinvite.ErrBadJSON)
	case len(t.Events) == 0:
		return errors.New("Transaction.Events is empty")
	case len(t.Events) > maxTransactionEvents:
		return fmt.Errorf("%w: %d events, more than %d", fedinvite.ErrTooLarge, len(t.Events), maxTransactionEvents)
	}
	for _, e := range t.Events {
		if e == nil {
			return errors.New("Transaction.Events has a nil")
		}
	}
	return nil
}

// body is written by hand, so that the events stay as they are. A server name has
// nothing that JSON would have to escape; xmatrix refuses what is none.
func (t *Transaction) body() ([]byte, error) {
	b := append([]byte(`{"origin":`), strconv.Quote(string(t.Signer.ServerName()))...)
	b = append(b, `,"origin_server_ts":`...)
	b = strconv.AppendInt(b, t.Time.UnixMilli(), 10)
	b = append(b, `,"pdus":[`...)
	for i, e := range t.Events {
		if i > 0 {
			b = append(b, ',')
		}
		start := len(b)
		if b = e.AppendJSON(b); deeperThan(b[start:], maxEventNesting) {
			return nil, fmt.Errorf("%w: event %q is nested more than %d deep", fedinvite.ErrTooDeep, e.ID(), maxEventNesting)
		}
	}
	return append(b, "]}"...), nil
}

// readResults reads the answer.
func (t *Transaction) readResults(answer []byte) (map[string]string, error) {
	text, err := fedinvite.LegacyCanonicalJSON(answer)
	if err != nil {
		return nil, err
	}
	var members, results map[string]json.RawMessage // exact names, unlike a struct
	if json.Unmarshal(text, &members) != nil || json.Unmarshal(members["pdus"], &results) != nil || results == nil {
		return nil, fmt.Errorf("%w: no object pdus", fedinvite.ErrBadJSON)
	}
	failed := make(map[string]string)
	for _, e := range t.Events {
		result, said := results[e.ID()]
		if !said {
			continue
		}
		var about map[string]json.RawMessage
		if json.Unmarshal(result, &about) != nil || about == nil {
			return nil, fmt.Errorf("%w: the result of an event is no object", fedinvite.ErrBadJSON)
		}
		complaint, bad := about["error"]
		if !bad || string(complaint) == "null" {
			continue
		}
		var message string
		_ = json.Unmarshal(complaint, &message) // no text, but an error
		failed[e.ID()] = cut(message, maxMessage)
	}
	return failed, nil
}

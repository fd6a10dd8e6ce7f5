package invitetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// invite has a user invite a guest of the peer into a new room, and sends what comes of it
// on, by a pipeline of its own like that of receive.
func (w *weak) invite(ctx context.Context, v fedinvite.RoomVersion, guest string) error {
	room := invitetest.NewRoom(v, victimUser)
	sent := room.Invite(guest)
	res, err := w.peer.Transport().RoundTrip(room.Request(sent, attackerName).HTTP(ctx, "https://"+string(attackerName)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %d", errRefused, res.StatusCode)
	}
	answer, err := w.readAnswer(res.Body)
	if err != nil {
		return err
	}
	event, err := w.agreed(ctx, sent, answer)
	if err != nil {
		return err
	}
	return sendOn(ctx, w.peer, event)
}

// readAnswer returns the answer as JSON.
func (w *weak) readAnswer(from io.Reader) (answer []byte, err error) {
	const limit = 1 << 20
	if w.lacks("reply size") {
		answer, err = io.ReadAll(from)
	} else if answer, err = io.ReadAll(io.LimitReader(from, limit+1)); len(answer) > limit {
		err = errTooLarge
	}
	if err != nil {
		return nil, err
	}
	switch {
	case w.lacks("reply JSON"):
		var first json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&first); err != nil {
			return nil, err
		}
		return remarshal(first, 10_000)
	case w.lacks("reply depth"):
		return remarshal(answer, 100)
	}
	return answer, nil
}

// agreed returns the event to go on with.
func (w *weak) agreed(ctx context.Context, sent *fedinvite.Event, answer []byte) (*fedinvite.Event, error) {
	reply, err := fedinvite.ParseResponseV2(answer)
	if err != nil {
		if !w.lacks("reply shape") {
			return nil, err
		}
		return sent, nil // the status was 200
	}
	event, err := fedinvite.ParseEvent(reply.Event, sent.Rules())
	if err != nil {
		return nil, err
	}
	if !w.lacks("reply is the event") && !bytes.Equal(bare(sent), bare(event)) {
		return nil, fmt.Errorf("%w: another event", errRefused)
	}
	if !w.lacks("reply is signed") {
		if err := w.signedBy(ctx, event, attackerName); err != nil {
			return nil, err
		}
	}
	if w.lacks("reply adds one server") {
		return event, nil
	}
	signatures := signaturesOf(sent, victimName)
	return fedinvite.ParseEvent(invitetest.Change(sent.AppendJSON(nil), invitetest.Set(invitetest.Object{
		string(victimName):   signatures,
		string(attackerName): signaturesOf(event, attackerName),
	}, "signatures")), sent.Rules())
}

// bare is what the answer has to leave as it is.
func bare(e *fedinvite.Event) []byte {
	return invitetest.Change(e.AppendJSON(nil), invitetest.Drop("signatures"), invitetest.Drop("unsigned"))
}

package fedclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// Limits of the answers, in bytes.
const (
	maxTemplate   = 256 << 10 // an event of 64 KiB, however it is written
	maxLeaveReply = 64 << 10
)

// A decliner declines one invite.
type decliner struct {
	client    *Client
	signer    *watchedSigner
	rules     fedinvite.Rules
	departure leave.Departure
	servers   []fedinvite.ServerName
	sent      *fedinvite.Event // the first leave that may be in the room
}

func newDecliner(c *Client, r DeclineRequest) (*decliner, error) {
	ours, err := r.check()
	if err != nil {
		return nil, err
	}
	servers, err := r.servers(ours)
	if err != nil {
		return nil, err
	}
	user, _ := r.Invite.StateKey()
	return &decliner{
		client:    c,
		signer:    &watchedSigner{Signer: asOwn(r.Signer)},
		rules:     r.Invite.Rules(),
		departure: leave.Departure{RoomID: r.Invite.RoomID(), UserID: user, Time: r.Time, Content: r.Content},
		servers:   servers,
	}, nil
}

// ask declines the invite by way of one server.
func (d *decliner) ask(ctx context.Context, server fedinvite.ServerName) (*fedinvite.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, d.client.config.Timeout)
	defer cancel()
	event, err := d.makeLeave(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("make_leave: %w", err)
	}
	if seen, err := d.sendLeave(ctx, server, event); err != nil {
		if d.sent == nil && seen {
			d.sent = event
		}
		return nil, fmt.Errorf("send_leave: %w", err)
	}
	return event, nil
}

// makeLeave gets a template and makes our leave of it.
func (d *decliner) makeLeave(ctx context.Context, server fedinvite.ServerName) (*fedinvite.Event, error) {
	answer, err := d.client.Do(ctx, Request{
		Method:        http.MethodGet,
		Destination:   server,
		Path:          []string{"_matrix", "federation", "v1", "make_leave", d.departure.RoomID, d.departure.UserID},
		Signer:        d.signer,
		MaxReply:      maxTemplate,
		IgnoreBackoff: true,
		once:          server != d.servers[len(d.servers)-1], // another is better
	})
	if err != nil {
		return nil, err
	}
	template, err := leave.ParseTemplate(answer)
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrReply, server, err)
	}
	event, err := template.Sign(ctx, d.departure, d.rules, d.signer) // checks it first
	switch {
	case d.signer.failed || err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w of %s: %w", ErrReply, server, err)
	}
	return event, nil
}

// sendLeave sends the leave, by the v1 endpoint if the server does not know v2. maybeSeen
// says that the server may have taken it all the same, if there is an error.
func (d *decliner) sendLeave(ctx context.Context, server fedinvite.ServerName, event *fedinvite.Event) (maybeSeen bool, err error) {
	var v2, v1 track
	answer, err := d.putLeave(ctx, server, event, "v2", &v2)
	check := checkObject
	if refused := v2.refusal(err); refused != nil && refused.unknownEndpoint() {
		answer, err = d.putLeave(ctx, server, event, "v1", &v1)
		check = checkLeaveReplyV1
	}
	if err == nil {
		err = check(server, answer)
	}
	return v2.maybeSeen() || v1.maybeSeen(), err
}

// putLeave asks one version of the endpoint.
func (d *decliner) putLeave(ctx context.Context, server fedinvite.ServerName, event *fedinvite.Event, version string, t *track) ([]byte, error) {
	return d.client.doTracked(ctx, Request{
		Method:        http.MethodPut,
		Destination:   server,
		Path:          []string{"_matrix", "federation", version, "send_leave", event.RoomID(), event.ID()},
		Body:          event.AppendJSON(nil),
		Signer:        d.signer,
		MaxReply:      maxLeaveReply,
		IgnoreBackoff: true,
	}, t)
}

// checkObject checks that an answer of which nothing is needed is a JSON object.
func checkObject(server fedinvite.ServerName, answer []byte) error {
	if _, err := jsonobject.Canonical(answer); err != nil {
		return fmt.Errorf("%w of %s: %w", ErrReply, server, err)
	}
	return nil
}

// checkLeaveReplyV1 checks that an answer is [200, {…}].
func checkLeaveReplyV1(server fedinvite.ServerName, answer []byte) error {
	text, err := fedinvite.LegacyCanonicalJSON(answer)
	var pair []json.RawMessage
	if err == nil && (json.Unmarshal(text, &pair) != nil || len(pair) != 2 || string(pair[0]) != "200" || pair[1][0] != '{') {
		err = fmt.Errorf("%w: it is not [200, {}]", fedinvite.ErrBadJSON)
	}
	if err != nil {
		return fmt.Errorf("%w of %s: %w", ErrReply, server, err)
	}
	return nil
}

// A watchedSigner remembers whether signing failed, to tell that from failures of others.
type watchedSigner struct {
	fedinvite.Signer
	failed bool
}

// Sign implements [fedinvite.Signer]. That the time for one server is over is no failure.
func (s *watchedSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.Signer.Sign(ctx, message)
	if err != nil && ctx.Err() == nil {
		s.failed = true
	}
	return signature, err
}

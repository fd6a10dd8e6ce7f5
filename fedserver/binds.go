package fedserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// A BindsConfig says how [Binds] work.
type BindsConfig struct {
	// HandleInvite is called for each invite of a notification; Bind of [Binder] fits.
	// What takes long it should queue, as the identity server waits: all invites of a
	// notification together have Timeout, and each its share of what is left of it. It is
	// called for each of them, though the context may have ended. Required.
	HandleInvite func(ctx context.Context, inv thirdparty.Invite) error
	// Signer is that of [Endpoint]: it says which users are ours. Required.
	Signer func(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error)
	// Admit is asked before HandleInvite: the place for rate limits. Anybody can send
	// notifications, and HandleInvite usually makes a request to a server that they
	// name, for each invite. It is also the place to refuse tokens, signed.token of an
	// invite, that were used already: everybody in the room can read them and send them
	// again, and the room's state does not tell once the user has left. remote is the
	// address of the connection, a reverse proxy's perhaps. nil: all are admitted.
	Admit func(ctx context.Context, remote netip.AddrPort, bind thirdparty.Bind) error
	// MaxBody, Timeout and Done are those of [Endpoint]. Timeout bounds HandleInvite too,
	// beginning anew with the first.
	MaxBody int64
	Timeout time.Duration
	Done    func(r *http.Request, req Request, err error)
}

// Binds takes the notifications by which identity servers tell that a third-party
// identifier belongs to one of our users now, and which invites are waiting for it: PUT
// and POST /_matrix/federation/v1/3pid/onbind (server-server API, "Third-party invites";
// identity service API, "Invitation storage").
//
// The requests are not authenticated: nothing in them is to be believed but what the
// keys in the room's state prove of an invite.
type Binds struct {
	config   BindsConfig
	endpoint Endpoint // MaxBody, Timeout and Done
}

// NewBinds returns Binds. The error names the field that is missing.
func NewBinds(c BindsConfig) (*Binds, error) {
	b := &Binds{c, Endpoint{MaxBody: c.MaxBody, Timeout: c.Timeout, Done: c.Done}}
	err := missing("BindsConfig", []field{{"HandleInvite", c.HandleInvite != nil}, {"Signer", c.Signer != nil}})
	if err == nil {
		err = b.endpoint.checkLimits("BindsConfig")
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Handle calls HandleInvite for each invite of a notification, if that is about a user of
// ours and all its invites are for that user. Of those with one room, sender and token it
// is called for the first. Admit is not asked.
//
// All invites are tried. If any fails the error holds the errors of all that did, and
// what a peer is told of it is about the first. Identity servers do not send a
// notification again, so HandleInvite has to keep what may succeed later. Other errors
// wrap [fedinvite.ErrIdentifier], [fedinvite.ErrNotLocal] or [fedinvite.ErrMismatch].
func (b *Binds) Handle(ctx context.Context, bind thirdparty.Bind) error {
	checking, cancel := context.WithTimeout(ctx, b.endpoint.timeout())
	defer cancel()
	if err := b.check(checking, bind); err != nil {
		return err
	}
	return b.handle(ctx, bind)
}

func (b *Binds) check(ctx context.Context, bind thirdparty.Bind) error {
	_, server, err := fedinvite.ParseUserID(bind.UserID)
	if err != nil {
		return fmt.Errorf("mxid: %w", err)
	}
	if _, err := signerOf(ctx, b.config.Signer, server); err != nil {
		return err
	}
	for _, inv := range bind.Invites {
		if inv.UserID != bind.UserID {
			return detail.Errorf(fedinvite.ErrMismatch, "the mxid of an invite and that of the notification")
		}
	}
	return nil
}

func (b *Binds) handle(ctx context.Context, bind thirdparty.Bind) error {
	ctx, cancel := context.WithTimeout(ctx, b.endpoint.timeout())
	defer cancel()
	var failed []error
	invites := distinct(bind.Invites)
	for i, inv := range invites {
		if err := b.handleOne(ctx, inv, len(invites)-i); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// handleOne handles the first of the invites that are left, in its share of the time: a
// slow server must not take it all from the others.
func (b *Binds) handleOne(ctx context.Context, inv thirdparty.Invite, left int) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	defer cancel()
	return fromHook(b.config.HandleInvite(ctx, inv))
}

// distinct leaves out what would make an invite a second time.
func distinct(invites []thirdparty.Invite) []thirdparty.Invite {
	type key struct{ room, sender, token string }
	known := make(map[key]bool, len(invites))
	all := make([]thirdparty.Invite, 0, len(invites))
	for _, inv := range invites {
		token, err := tokenOf(inv.Signed)
		k := key{inv.RoomID, inv.Sender, token}
		if known[k] {
			continue
		}
		known[k] = err == nil
		all = append(all, inv)
	}
	return all
}

const pathBind = "/_matrix/federation/v1/3pid/onbind"

// ServeHTTP implements [http.Handler].
func (b *Binds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	b.endpoint.serve(w, r, b.read, []route{{[]string{http.MethodPut, http.MethodPost}, pathBind, 0,
		func(ctx, checking context.Context, req Request, _ []string) ([]byte, error) {
			return []byte(`{}`), b.answer(ctx, checking, remote, req.Body)
		}}})
}

// read reads the body within the time of the request's context.
func (b *Binds) read(w http.ResponseWriter, r *http.Request) (Request, error) {
	deadline, _ := r.Context().Deadline()
	inbound.SetReadDeadline(w, deadline)
	body, err := readBody(w, r, b.endpoint.maxBody())
	if err != nil {
		closeUnread(w, r)
	}
	return Request{Body: body}, err
}

func (b *Binds) answer(ctx, checking context.Context, remote netip.AddrPort, body []byte) error {
	bind, err := thirdparty.ParseBind(body)
	if err != nil {
		return err
	}
	if err := b.check(checking, bind); err != nil {
		return err
	}
	if b.config.Admit != nil {
		if err := b.config.Admit(checking, remote, bind); err != nil {
			return fromHook(err)
		}
	}
	return b.handle(ctx, bind)
}

package invitetest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	keysPath        = "/_matrix/key/v2/server"
	versionPath     = "/_matrix/federation/v1/version"
	inviteV1Path    = "/_matrix/federation/v1/invite/"
	inviteV2Path    = "/_matrix/federation/v2/invite/"
	makeLeavePath   = "/_matrix/federation/v1/make_leave/"
	sendLeavePath   = "/_matrix/federation/v2/send_leave/"
	sendLeaveV1Path = "/_matrix/federation/v1/send_leave/"
	transactionPath = "/_matrix/federation/v1/send/"
)

// A homeserver is what a Server answers with when nothing fails.
type homeserver struct {
	publish      *keyring.PublishHandler
	receiver     *fedinvite.Receiver
	leaves       *fedserver.Leaves
	transactions *fedserver.Transactions
	maxBody      int64 // of an invite
}

// newHomeserver returns that of s. change may be nil.
func newHomeserver(s *Server, change func(*fedinvite.Config)) (*homeserver, error) {
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: s.local, Now: s.publishedAt, Default: s.name})
	if err != nil {
		return nil, err
	}
	credentials := xmatrix.Verifier{Keys: s.Keys(), Now: s.now, Assume: s.name}.Credentials
	config := fedinvite.Config{
		Signer:      keyring.Local(s.local).Signer,
		Keys:        s.Keys(),
		Credentials: credentials,
		Rules:       s.rooms.rules,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
	if change != nil {
		change(&config)
	}
	if inner := config.Handler; inner != nil {
		config.Handler = fedinvite.HandlerFunc(func(ctx context.Context, inv *fedinvite.Invite) error {
			if err := inner.HandleInvite(ctx, inv); err != nil {
				return err
			}
			if accepted, ok := ctx.Value(acceptedKey{}).(**fedinvite.Invite); ok {
				*accepted = inv
			} else {
				s.invites.add(inv)
			}
			return nil
		})
	}
	receiver, err := fedinvite.NewReceiver(config)
	if err != nil {
		return nil, err
	}
	endpoint := fedserver.Endpoint{Signer: config.Signer, Keys: s.Keys(), Credentials: credentials, Rules: s.rooms.rules, Now: s.now}
	leaves, err := fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: endpoint, Room: &s.rooms, HandleLeave: s.rooms.handleLeave})
	if err != nil {
		return nil, err
	}
	transactions, err := fedserver.NewTransactions(fedserver.TransactionsConfig{
		Endpoint: endpoint, Invite: s.invites.pending, HandleRescission: s.invites.takeBack,
	})
	return &homeserver{publish, receiver, leaves, transactions, max(config.MaxBody, maxBody)}, err
}

// publishedAt is the clock by which keys are published. That of [KeyExpired] is late.
func (s *Server) publishedAt() time.Time {
	if s.state.has(KeyExpired) {
		return s.now().Add(-expiredFor)
	}
	return s.now()
}

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, keysPath):
		h.publish.ServeHTTP(w, r)
	case path == versionPath:
		jsonAnswer(http.StatusOK, Encode(Object{"server": Object{"name": "invitetest", "version": "1"}})).write(w)
	case strings.HasPrefix(path, makeLeavePath), strings.HasPrefix(path, sendLeavePath), strings.HasPrefix(path, sendLeaveV1Path):
		h.leaves.ServeHTTP(w, r)
	case strings.HasPrefix(path, transactionPath):
		h.transactions.ServeHTTP(w, r)
	default:
		h.receiver.ServeHTTP(w, r) // also answers for endpoints that do not exist
	}
}

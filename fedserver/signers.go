package fedserver

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// What the leaves of one request may cost in key look-ups.
const (
	maxSignatures = 10 // of the sender's server, in one leave
	maxKeyServers = 10 // in one transaction
)

// checkSigners demands that server, the sender's, alone has to sign a leave, before any
// key is looked up. No honest leave needs more: join_authorised_via_users_server is for
// joins, and in room versions 1–2 a server names its events itself. Whoever sends others
// has us ask whatever servers they like for keys.
func checkSigners(e *fedinvite.Event, server fedinvite.ServerName) error {
	if !slices.Equal(e.RequiredSigners(), []fedinvite.ServerName{server}) {
		return detail.Errorf(fedinvite.ErrSignature, "others than the sender's server would have to sign this leave")
	}
	if countSignatures(e, server) > maxSignatures {
		return detail.Errorf(fedinvite.ErrSignature, "more than %d signatures of one server", maxSignatures)
	}
	return nil
}

// countSignatures returns how many entries the server has, whatever is in them.
func countSignatures(e *fedinvite.Event, server fedinvite.ServerName) (n int) {
	gjson.ParseBytes(e.Signatures()).ForEach(func(name, entries gjson.Result) bool {
		if name.Str != string(server) {
			return true
		}
		entries.ForEach(func(_, _ gjson.Result) bool {
			n++
			return true
		})
		return false
	})
	return n
}

// keyServers are the servers whose keys one transaction has made us look up.
type keyServers map[fedinvite.ServerName]bool

func (k keyServers) add(server fedinvite.ServerName) error {
	if !k[server] && len(k) >= maxKeyServers {
		return detail.Errorf(fedinvite.ErrSignature, "leaves of more than %d servers in one transaction", maxKeyServers)
	}
	k[server] = true
	return nil
}

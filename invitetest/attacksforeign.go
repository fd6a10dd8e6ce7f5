package invitetest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// newName returns a server name that nobody has asked for yet. A peer whose name is its
// address is probably in no network of names.
func (f *foe) newName() fedinvite.ServerName {
	if _, err := netip.ParseAddr(f.name().Host()); err == nil {
		return ""
	}
	return fedinvite.ServerName("s-" + strings.ToLower(rand.Text()) + ".example")
}

// second starts another server and reports whether the target finds it: whether it accepts
// an invite of that one that is in order.
func (f *foe) second(prepare func(s *Server)) (s *Server, ok bool) {
	s, err := f.start()
	if err != nil {
		f.skip("there is no second server: %v", err)
		return nil, false
	}
	prepare(s)
	if a := f.send(s.requestFor(f)); a.status != http.StatusOK {
		f.skip("it %s to an invite of a second server of the suite, which it probably does not find", a)
		s.Close()
		return nil, false
	}
	return s, true
}

func (f *foe) start() (*Server, error) {
	return StartServer(ServerConfig{Name: f.newName(), Network: f.target.Peer.Network(), Now: f.target.Peer.now})
}

// requestFor returns a server's own request with an invite for the one whom a foe invites.
func (s *Server) requestFor(f *foe) Request {
	room := s.NewRoom(f.version, "@inviter:"+string(s.Name()))
	return room.Request(room.Invite(f.invitee), f.target.Name)
}

// withSecond makes a try for which a second server is needed.
func withSecond(name string, run func(f *foe, s *Server)) try {
	return try{name, func(f *foe) {
		if s, ok := f.second(func(*Server) {}); ok {
			defer s.Close()
			run(f, s)
		}
	}}
}

// withOldKey makes a try with a second server that has given up a key.
func withOldKey(name string, run func(f *foe, s *Server, old fedinvite.Signer)) try {
	return try{name, func(f *foe) {
		var old fedinvite.Signer
		s, ok := f.second(func(s *Server) {
			old = s.Signer()
			s.RotateKey()
		})
		if ok {
			defer s.Close()
			run(f, s, old)
		}
	}}
}

// A borrowed signer uses its key in the name of another server, or by another key ID.
type borrowed struct {
	fedinvite.Signer
	name fedinvite.ServerName
	id   fedinvite.KeyID
}

func (b borrowed) ServerName() fedinvite.ServerName { return b.name }
func (b borrowed) KeyID() fedinvite.KeyID           { return b.id }

// as is the peer's key in the name of another server.
func (f *foe) as(name fedinvite.ServerName, id fedinvite.KeyID) fedinvite.Signer {
	return borrowed{f.target.Peer.Signer(), name, id}
}

// setBody gives a request another body. Its signature stays.
func setBody(req *http.Request, body []byte) {
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
}

// signNaively signs a request whose body the library would not sign: as somebody does who
// has no limits. The body must be in canonical form.
func (f *foe) signNaively(q Request) *http.Request {
	unsigned := q
	unsigned.From, unsigned.Body = nil, nil
	req := unsigned.HTTP(f.ctx, f.target.base())
	setBody(req, q.Body)
	message := `{"content":` + string(q.Body) + `,"destination":` + quoted(q.To) + `,"method":"PUT","origin":` +
		quoted(q.From.ServerName()) + `,"uri":` + quoted(req.URL.RequestURI()) + `}`
	signature := must(q.From.Sign(f.ctx, []byte(message)))
	req.Header.Set("Authorization", xmatrix.Auth{
		Origin: q.From.ServerName(), Destination: q.To, Key: q.From.KeyID(), Sig: base64Of(signature),
	}.String())
	return req
}

func quoted[S ~string](s S) string { return string(Encode(string(s))) }

func base64Of(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

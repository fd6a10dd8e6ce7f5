package invitetest

import (
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// IntroduceHandler is [Server.Introduce] for the test of a [fedinvite.Handler], or of other
// hooks that change sets: it makes a [fedinvite.Receiver] of them, with [Signer] of name,
// which finds keys in the Network, and publishes that key. It returns the Receiver. It
// panics if name is malformed, or if change makes a configuration of which there is none.
func (s *Server) IntroduceHandler(name fedinvite.ServerName, h fedinvite.Handler, change ...func(*fedinvite.Config)) *fedinvite.Receiver {
	signer := Signer(name)
	local := keyring.Signers(signer)
	ring := must(keyring.New(keyring.Config{Fetcher: s.Client(), Now: s.now, Local: local, Timeout: keyTimeout}))
	c := fedinvite.Config{
		Signer: local.Signer, Keys: ring, Handler: h,
		Credentials: xmatrix.Verifier{Keys: ring, Now: s.now}.Credentials,
	}
	for _, f := range change {
		f(&c)
	}
	receiver := must(fedinvite.NewReceiver(c))
	s.Introduce(name, withKeys(receiver, s.now, signer))
	return receiver
}

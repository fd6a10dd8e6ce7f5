package xmatrix_test

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// BenchmarkVerify is the cost of a request with a body of 1.3 KB; the line without
// Ed25519 stops at a key that fails before any curve operation.
func BenchmarkVerify(b *testing.B) {
	s := invitetest.Signer("a.ex")
	body := `{"event":{"content":{"membership":"invite","x":"` + strings.Repeat("x", 1240) + `"}},"room_version":"10"}`
	r := received(b, "PUT", target, headerFor(b, s, "us.ex", "PUT", target, body).String())
	good := fedinvite.KeyMap{}
	good.Add(s)
	bad := fedinvite.KeyMap{"a.ex": {"ed25519:1": {Public: make([]byte, 32)}}}
	for _, c := range []struct {
		name string
		keys fedinvite.KeyMap
	}{{"all", good}, {"without Ed25519", bad}} {
		b.Run(c.name, func(b *testing.B) {
			v := xmatrix.Verifier{Keys: c.keys, Now: clock}
			text := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				credentials, err := v.Credentials(r)
				if err != nil {
					b.Fatal(err)
				}
				if err = credentials.Verify(context.Background(), text); (err == nil) != (c.name == "all") {
					b.Fatal(err)
				}
			}
		})
	}
}

package fedclient_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// BenchmarkInviter invites a remote user to a room of version 11 with eight entries of
// room state. The invited server's answer is made beforehand: the invite is the same each
// time.
func BenchmarkInviter(b *testing.B) {
	invite, _ := benchInviter(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := invite(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInviterRatio does in turns what BenchmarkInviter does and the Ed25519
// operations in it alone, over the same messages: two signatures, of the event and of the
// request, and one verification, of the reply. It reports the median of the ratios, pair
// by pair.
func BenchmarkInviterRatio(b *testing.B) {
	invite, operations := benchInviter(b)
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		if err := invite(); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		operations()
		ratios = append(ratios, float64(middle.Sub(start))/float64(time.Since(middle)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "×limit")
}

// benchInviter returns an invite and the Ed25519 operations that it consists of.
func benchInviter(b *testing.B) (invite func() error, operations func()) {
	s := newStage(b, fedinvite.RoomV11)
	s.set("m.room.member", alice, `{"avatar_url":"mxc://a.ex/abcdefghijklmnopqrstuvwx","displayname":"Alice","membership":"join"}`)
	s.set("m.room.avatar", "", `{"info":{"h":512,"mimetype":"image/png","size":31416,"w":512},"url":"mxc://a.ex/abcdefghijklmnopqrstuvwx"}`)
	s.set("m.room.topic", "", `{"m.topic":{"m.text":[{"body":"What there is to talk about, and where else to look"}]},"topic":"What there is to talk about, and where else to look"}`)
	signer := &recordingSigner{Signer: s.signer}
	v, i := s.benchConfig(b, signer), s.benchInvitation()

	// Once in earnest, for the messages and the reply.
	invited, err := v.Invite(b.Context(), i)
	if err != nil {
		b.Fatal(err)
	}
	reply, err := fedinvite.Response{Event: invited.Event.AppendJSON(nil)}.MarshalV2()
	if err != nil || len(signer.messages) != 2 || len(invited.RoomState) != 8 {
		b.Fatal(err, signer.messages)
	}
	remote := invitetest.Signer("b.ex")
	signature, err := remote.Sign(b.Context(), signer.messages[0])
	if err != nil {
		b.Fatal(err)
	}
	text := string(reply)
	messages, public := signer.messages, remote.Public()

	// What a server costs is not measured: there is one answer, which is read again.
	body := strings.NewReader(text)
	answer := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(body), ContentLength: int64(len(text)),
	}
	s.config.Client = newClient(b, tripper(func(*http.Request) (*http.Response, error) {
		body.Reset(text)
		return answer, nil
	}))
	v = s.benchConfig(b, s.signer)
	return func() error {
			_, err := v.Invite(context.Background(), i)
			return err
		}, func() {
			for _, message := range messages {
				if _, err := s.signer.Sign(context.Background(), message); err != nil {
					b.Fatal(err)
				}
			}
			if !ed25519.Verify(public, messages[0], signature) {
				b.Fatal("not verified")
			}
		}
}

// benchConfig leaves the record out.
func (s *stage) benchConfig(b *testing.B, signer fedinvite.Signer) *fedclient.Inviter {
	c := s.config
	c.Keys, c.Policy, c.Rules = s.keys, nil, nil
	c.Signer = keyringOf(signer)
	c.Room = roomFunc(func(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error) {
		return &s.snapshot, nil
	})
	v, err := fedclient.NewInviter(c)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (s *stage) benchInvitation() fedclient.Invitation {
	i := s.invitation(bob)
	i.Content = json.RawMessage(`{"avatar_url":"mxc://b.ex/abcdefghijklmnop","displayname":"Bob","is_direct":false}`)
	return i
}

// A recordingSigner keeps what it signs.
type recordingSigner struct {
	fedinvite.Signer
	messages [][]byte
}

func (r *recordingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	r.messages = append(r.messages, slices.Clone(message))
	return r.Signer.Sign(ctx, message)
}

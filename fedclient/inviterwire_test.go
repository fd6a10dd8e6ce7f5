package fedclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// The body is that of fedinvite.Request.MarshalV2, whatever the room version is called,
// and can be read again.
func TestTheBodyOfAnInvite(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{"11", "org.example-1_x", "Größe \"\\\x01<&>"} {
		rules := rulesOf(t, fedinvite.RoomV11)
		rules.Version = version
		s := newStageOf(t, rules)
		var bodies [2][]byte
		var length int64
		next := s.roundTrip
		s.config.Client = newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			again, err := r.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			// One byte at a time, and all at once.
			for {
				var one [1]byte
				n, err := again.Read(one[:])
				bodies[0] = append(bodies[0], one[:n]...)
				if err != nil {
					break
				}
			}
			again, _ = r.GetBody()
			if bodies[1], err = io.ReadAll(again); err != nil || again.Close() != nil {
				t.Error(err)
			}
			length = r.ContentLength
			return next(r)
		}))
		invited, err := s.invite(bob)
		if err != nil {
			t.Fatal(err)
		}
		request, err := fedinvite.ParseRequestV2(bodies[0])
		if err != nil {
			t.Fatal(err)
		}
		want, err := fedinvite.Request{RoomVersion: version, Event: request.Event, RoomState: invited.RoomState}.MarshalV2()
		if err != nil || !bytes.Equal(want, bodies[0]) || !bytes.Equal(want, bodies[1]) || length != int64(len(want)) {
			t.Errorf("got  %s\nand  %s\nwant %s (%d bytes, %v)", bodies[0], bodies[1], want, length, err)
		}
	}
}

// Other programs than net/http see parameters in a path, and slashes part segments.
func TestSegmentsOfPathsAreEscaped(t *testing.T) {
	for segment, want := range map[string]string{
		"!r:a.ex": "/x/%21r:a.ex/y", "!r/:a.ex": "/x/%21r%2F:a.ex/y", "a;b": "/x/a%3Bb/y", "a,b": "/x/a%2Cb/y", "a?b#c%d": "/x/a%3Fb%23c%25d/y", "": "/x//y", "$a+b": "/x/$a+b/y",
	} {
		var got string
		client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			got = r.URL.RequestURI()
			return nil, io.EOF
		}))
		_, _ = client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: "b.ex", Path: []string{"x", segment, "y"}})
		if got != want {
			t.Errorf("%q: got %s, want %s", segment, got, want)
		}
	}
}

// By HTTPS, to servers that read requests as servers do.
func TestInvitesOverTheNetwork(t *testing.T) {
	for protocol := 1; protocol <= 2; protocol++ {
		s := newStage(t, fedinvite.RoomV11)
		s.keys.Add(invitetest.Signer("8.0.0.1"))
		receiver := s.receiver("8.0.0.1")
		n := internet.New(t)
		n.HTTP1 = protocol == 1
		n.Serve("8.0.0.1:8448", []string{"8.0.0.1"}, func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != protocol {
				t.Errorf("HTTP/%d, want %d", r.ProtoMajor, protocol)
			}
			receiver.ServeHTTP(w, r)
		})
		s.config.Client = newClient(t, n.Transport(nil))
		invited, err := s.invite("@b:8.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if len(s.received) != 1 || len(s.received[0].RoomState.Events) != 8 || invited.Event.Verify(t.Context(), s.keys, "8.0.0.1") != nil {
			t.Errorf("received %+v", s.received)
		}
	}
}

// What the invited server answers is read alike, whatever it looks like.
func FuzzInviteReply(f *testing.F) {
	us, them := invitetest.Signer("a.ex"), invitetest.Signer("b.ex")
	event := inviteFor(bob, us, rulesOf(f, fedinvite.RoomV11))
	signed, err := event.WithSignature(f.Context(), them)
	if err != nil {
		f.Fatal(err)
	}
	good := string(signed.AppendJSON(nil))
	for _, seed := range []string{
		`{"event":` + good + `}`, ` {"event":` + good + `}`, `{"event":` + good + `,"x":1}`, `{"x":{"event":1},"event":` + good + "}\n",
		`{"event":` + good + `,"event":` + good + `}`, `{"event":` + good + `}}`, `{"event":{}}`, `{"event":}`, `{"event":[]}`, `{"event":1}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	keys := fedinvite.KeyMap{}
	keys.Add(them)
	f.Fuzz(func(t *testing.T, answer []byte) {
		client := newClient(t, tripper(func(*http.Request) (*http.Response, error) {
			return response(200, map[string]string{"Content-Type": "application/json"}, string(answer)), nil
		}))
		got, err := client.SendInvite(t.Context(), fedclient.InviteRequest{Event: event, Signer: us, Keys: keys})
		var want *fedinvite.Event
		parsed, wantErr := fedinvite.ParseResponseV2(answer)
		if wantErr == nil {
			want, wantErr = fedinvite.MergeReply(t.Context(), event, parsed.Event, "b.ex", keys)
		}
		if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, fedclient.ErrReply) {
			t.Fatalf("got %v, want %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got.Event.AppendJSON(nil), want.AppendJSON(nil)) {
			t.Errorf("got %s, want %s", got.Event.AppendJSON(nil), want.AppendJSON(nil))
		}
	})
}

// Whatever a policy server answers, the event carries our signature and a valid one of its
// own, or nothing is sent.
func FuzzPolicyReply(f *testing.F) {
	s := newStage(f, fedinvite.RoomV11).usePolicyServer("ps.ex", nil)
	var reply []byte
	s.servers["ps.ex"] = s.signs("ps.ex")
	invited, err := s.invite("@b:a.ex") // for the signature of the one event that there is
	if err != nil {
		f.Fatal(err)
	}
	signature := signatureOf(f, invited.Event, "ps.ex", "ed25519:policy_server")
	s.servers["ps.ex"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerJSON(200, string(reply))(w, r) })
	for _, seed := range []string{
		`{"ps.ex":{"ed25519:policy_server":"` + signature + `"}}`, `{"ps.ex":{"ed25519:policy_server":"` + signature + `=="},"a.ex":{"ed25519:1":"x"}}`,
		`{}`, `{"ps.ex":{}}`, `{"ps.ex":null}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	v := s.inviter()
	f.Fuzz(func(t *testing.T, answer []byte) {
		reply, s.t, s.record = answer, t, nil
		got, err := v.Invite(t.Context(), s.invitation("@b:a.ex"))
		if err != nil {
			var policy *fedclient.PolicyError
			if !errors.As(err, &policy) || !errors.Is(err, fedclient.ErrReply) {
				t.Errorf("got %v", err)
			}
			return
		}
		var all map[string]map[string]json.RawMessage
		if err := json.Unmarshal(got.Event.Signatures(), &all); err != nil || len(all) != 2 || len(all["ps.ex"]) != 1 || len(all["a.ex"]) != 1 {
			t.Errorf("signatures %s", got.Event.Signatures())
		}
		if signatureOf(t, got.Event, "ps.ex", "ed25519:policy_server") != signature {
			t.Errorf("taken: %s", answer)
		}
	})
}

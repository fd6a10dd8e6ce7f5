package fedinvite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
	"github.com/tidwall/gjson"
	"golang.org/x/crypto/ed25519"
)

// What the other benchmarks are measured against, at the same sizes and in the
// same run: absolute times mean little on a shared machine, ratios do.
//
//	verify, sign     one Ed25519 operation on the bytes that an invite signs
//	sha256           one SHA-256 of a whole invite
//	gjsonvalid/NAME  gjson.Valid of the input NAME of the other benchmarks
func BenchmarkLimit(b *testing.B) {
	inv := benchInvite(b)
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	message, _, err := fedinvite.SignedJSON(inv.Redacted().AppendJSON(nil))
	if err != nil {
		b.Fatal(err)
	}
	signature := ed25519.Sign(private, message)
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if !ed25519.Verify(public, message, signature) {
				b.Fatal("not verified")
			}
		}
	})
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			ed25519.Sign(private, message)
		}
	})
	b.Run("sha256", func(b *testing.B) {
		raw := inv.AppendJSON(nil)
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			sha256.Sum256(raw)
		}
	})

	inputs := canonicalInputs(b)
	for name, f := range adversarial() {
		inputs[name] = f(60000)
	}
	inputs["parseevent"] = inv.AppendJSON(nil)
	for _, name := range sortedNames(inputs) {
		b.Run("gjsonvalid/"+name, func(b *testing.B) {
			src := inputs[name]
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				gjson.ValidBytes(src)
			}
		})
	}
}

const (
	benchInviter fedinvite.ServerName = "inviter.example.org:8448"
	benchInvitee fedinvite.ServerName = "invitee.example.com"
)

// benchInvite returns an invite of room version 11 of some 0.8 KB.
func benchInvite(b testing.TB) *fedinvite.Event {
	b.Helper()
	e, err := fedinvite.NewInvite(context.Background(), benchDraft(), rulesOf(b, fedinvite.RoomV11), invitetest.Signer(benchInviter))
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func benchDraft() fedinvite.Draft {
	ref := func(i int) fedinvite.EventRef {
		return fedinvite.EventRef{ID: fmt.Sprintf("$%042dx", i)}
	}
	return fedinvite.Draft{
		RoomID:     "!AbCdEfGhIjKlMnOpQr:inviter.example.org:8448",
		Sender:     "@alice:inviter.example.org:8448",
		Invitee:    "@bob:invitee.example.com",
		AuthEvents: []fedinvite.EventRef{ref(1), ref(2), ref(3), ref(4)},
		PrevEvents: []fedinvite.EventRef{ref(5)},
		Depth:      17,
		Time:       time.UnixMilli(1764000000000),
		Content:    json.RawMessage(`{"displayname":"Bob","avatar_url":"mxc://invitee.example.com/abcdefghijklmnop","is_direct":false}`),
	}
}

func BenchmarkNewInvite(b *testing.B) { benchmark(b, benchNewInvite(b)) }

func benchNewInvite(b testing.TB) func() error {
	signer, rules, draft := invitetest.Signer(benchInviter), rulesOf(b, fedinvite.RoomV11), benchDraft()
	return func() error {
		_, err := fedinvite.NewInvite(context.Background(), draft, rules, signer)
		return err
	}
}

// BenchmarkMergeReply has the reply as the invited server writes it: the event with
// one signature more.
func BenchmarkMergeReply(b *testing.B) { benchmark(b, benchMergeReply(b)) }

func benchMergeReply(b testing.TB) func() error {
	sent, invitee := benchInvite(b), invitetest.Signer(benchInvitee)
	signed, err := sent.WithSignature(context.Background(), invitee)
	if err != nil {
		b.Fatal(err)
	}
	reply, keys := signed.AppendJSON(nil), fedinvite.KeyMap{}
	keys.Add(invitee)
	return func() error {
		_, err := fedinvite.MergeReply(context.Background(), sent, reply, benchInvitee, keys)
		return err
	}
}

// BenchmarkSignEventJSON signs the invite anew.
func BenchmarkSignEventJSON(b *testing.B) {
	raw, rules, signer := benchInvite(b).AppendJSON(nil), rulesOf(b, fedinvite.RoomV11), invitetest.Signer(benchInviter)
	benchmark(b, func() error {
		_, err := fedinvite.SignEventJSON(context.Background(), raw, rules, signer)
		return err
	})
}

// BenchmarkBodies reads and writes the bodies of the request and its answer, with eight
// PDUs of room state.
func BenchmarkBodies(b *testing.B) {
	_, d := benchRoomState8(b)
	response := fedinvite.Response{Event: d.Request.Event}
	request, err := d.Request.MarshalV2()
	if err != nil {
		b.Fatal(err)
	}
	answer, err := response.MarshalV2()
	if err != nil {
		b.Fatal(err)
	}
	var state []*fedinvite.Event
	for _, raw := range d.Request.RoomState {
		e, err := fedinvite.ParseEvent(raw, rulesOf(b, fedinvite.RoomV11))
		if err != nil {
			b.Fatal(err)
		}
		state = append(state, e)
	}
	b.Run("marshalrequest", func(b *testing.B) {
		benchmark(b, func() error { _, err := d.Request.MarshalV2(); return err })
	})
	b.Run("parserequest", func(b *testing.B) {
		benchmark(b, func() error { _, err := fedinvite.ParseRequestV2(request); return err })
	})
	b.Run("marshalresponse", func(b *testing.B) {
		benchmark(b, func() error { _, err := response.MarshalV2(); return err })
	})
	b.Run("parseresponse", func(b *testing.B) {
		benchmark(b, func() error { _, err := fedinvite.ParseResponseV2(answer); return err })
	})
	b.Run("selectroomstate", func(b *testing.B) {
		benchmark(b, func() error { fedinvite.SelectRoomState(state, 32<<10); return nil })
	})
}

func benchmark(b *testing.B, operation func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := operation(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseEvent includes both hashes, redaction and the event ID.
func BenchmarkParseEvent(b *testing.B) {
	raw, rules := benchInvite(b).AppendJSON(nil), rulesOf(b, fedinvite.RoomV11)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fedinvite.ParseEvent(raw, rules); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseEventUnsorted parses the event with its members in another order.
func BenchmarkParseEventUnsorted(b *testing.B) {
	raw, rules := reverseMembers(b, benchInvite(b).AppendJSON(nil)), rulesOf(b, fedinvite.RoomV11)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fedinvite.ParseEvent(raw, rules); err != nil {
			b.Fatal(err)
		}
	}
}

func reverseMembers(b testing.TB, raw []byte) []byte {
	b.Helper()
	var members []string
	gjson.ParseBytes(raw).ForEach(func(key, value gjson.Result) bool {
		members = append([]string{key.Raw + ":" + value.Raw}, members...)
		return true
	})
	return []byte("{" + strings.Join(members, ",") + "}")
}

func BenchmarkParseEventSize(b *testing.B) {
	for _, kb := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("%dKB", kb), func(b *testing.B) {
			raw, rules := benchPowerLevels(b, kb<<10-200), rulesOf(b, fedinvite.RoomV11)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := fedinvite.ParseEvent(raw, rules); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchPowerLevels returns a signed m.room.power_levels event of about size bytes.
func benchPowerLevels(b testing.TB, size int) []byte {
	b.Helper()
	var users strings.Builder
	for i := 0; users.Len() < size-500; i++ {
		if i > 0 {
			users.WriteByte(',')
		}
		fmt.Fprintf(&users, `"@user%06d:inviter.example.org":50`, i)
	}
	return benchState(b, "m.room.power_levels", `{"ban":50,"users":{`+users.String()+`}}`)
}

func benchState(b testing.TB, eventType, content string) []byte {
	b.Helper()
	raw := fmt.Sprintf(`{"type":%q,"state_key":"","sender":"@alice:%s","room_id":"!AbCdEfGhIjKlMnOpQr:%[2]s","content":%s,`+
		`"depth":3,"origin_server_ts":1764000000000,"auth_events":["$%043d","$%043d"],"prev_events":["$%043d"]}`,
		eventType, benchInviter, content, 1, 2, 3)
	signed, err := fedinvite.SignEventJSON(context.Background(), []byte(raw), rulesOf(b, fedinvite.RoomV11), invitetest.Signer(benchInviter))
	if err != nil {
		b.Fatal(err)
	}
	return signed
}

func BenchmarkVerifyEvent(b *testing.B) {
	e, keys := benchInvite(b), benchKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Verify(context.Background(), keys); err != nil {
			b.Fatal(err)
		}
	}
}

func benchKeys(b testing.TB) fedinvite.KeyMap {
	keys := invitetest.Keys(benchInviter)
	return keys
}

func benchConfig(b testing.TB) fedinvite.Config {
	signer := invitetest.Signer(benchInvitee)
	return fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if name != benchInvitee {
				return nil, fedinvite.ErrNotLocal
			}
			return signer, nil
		},
		Keys:    benchKeys(b),
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
}

func benchDelivery(b testing.TB) fedinvite.Delivery {
	e := benchInvite(b)
	return fedinvite.Delivery{
		Origin: benchInviter, Destination: benchInvitee, RoomID: e.RoomID(), EventID: e.ID(),
		Request: fedinvite.Request{RoomVersion: fedinvite.RoomV11, Event: e.AppendJSON(nil)},
	}
}

// BenchmarkRatio does an operation and the Ed25519 operations that it consists of in
// turns, and reports the median of the ratios, pair by pair: on a machine whose speed
// drifts nothing else is worth much.
func BenchmarkRatio(b *testing.B) {
	d := benchDelivery(b)
	rc := benchReceiver(b, benchConfig(b))
	b.Run("receive", func(b *testing.B) {
		benchmarkRatio(b, 1, 1, func() error {
			_, err := rc.Receive(context.Background(), d)
			return err
		})
	})
	b.Run("servehttp", func(b *testing.B) { benchmarkRatio(b, 2, 1, benchServeHTTP(b)) })
	b.Run("newinvite", func(b *testing.B) { benchmarkRatio(b, 0, 1, benchNewInvite(b)) })
	b.Run("mergereply", func(b *testing.B) { benchmarkRatio(b, 1, 0, benchMergeReply(b)) })
	strict, withState := benchRoomState8(b)
	b.Run("roomstate8", func(b *testing.B) {
		benchmarkRatio(b, 9, 1, func() error {
			_, err := strict.Receive(context.Background(), withState)
			return err
		})
	})
}

func benchmarkRatio(b *testing.B, verifies, signs int, operation func() error) {
	signer := invitetest.Signer(benchInviter)
	message, _, err := fedinvite.SignedJSON(benchInvite(b).Redacted().AppendJSON(nil))
	if err != nil {
		b.Fatal(err)
	}
	signature, err := signer.Sign(context.Background(), message)
	if err != nil {
		b.Fatal(err)
	}
	public := signer.Public()
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		if err := operation(); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		for range verifies {
			ed25519.Verify(public, message, signature)
		}
		for range signs {
			if _, err := signer.Sign(context.Background(), message); err != nil {
				b.Fatal(err)
			}
		}
		ratios = append(ratios, float64(middle.Sub(start))/float64(time.Since(middle)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "×limit")
}

func BenchmarkReceive(b *testing.B) {
	benchmarkReceive(b, benchReceiver(b, benchConfig(b)), benchDelivery(b))
}

// BenchmarkReceiveRoomState8 has eight PDUs of room state, all of them verified.
func BenchmarkReceiveRoomState8(b *testing.B) {
	rc, d := benchRoomState8(b)
	benchmarkReceive(b, rc, d)
}

func benchRoomState8(b testing.TB) (*fedinvite.Receiver, fedinvite.Delivery) {
	config, d := benchConfig(b), benchDelivery(b)
	config.RoomState = fedinvite.StateStrict
	for _, s := range []struct{ eventType, content string }{
		{"m.room.create", `{"room_version":"11"}`},
		{"m.room.join_rules", `{"join_rule":"invite"}`},
		{"m.room.name", `{"name":"A room to be invited to"}`},
		{"m.room.topic", `{"topic":"What there is to talk about"}`},
		{"m.room.avatar", `{"url":"mxc://inviter.example.org/abcdefghijklmnop"}`},
		{"m.room.canonical_alias", `{"alias":"#room:inviter.example.org"}`},
		{"m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`},
		{"m.room.power_levels", `{"users":{"@alice:inviter.example.org:8448":100}}`},
	} {
		d.Request.RoomState = append(d.Request.RoomState, benchState(b, s.eventType, s.content))
	}
	return benchReceiver(b, config), d
}

func benchReceiver(b testing.TB, config fedinvite.Config) *fedinvite.Receiver {
	rc, err := fedinvite.NewReceiver(config)
	if err != nil {
		b.Fatal(err)
	}
	return rc
}

func benchmarkReceive(b *testing.B, rc *fedinvite.Receiver, d fedinvite.Delivery) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rc.Receive(context.Background(), d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServeHTTP is the whole endpoint in one process, the X-Matrix signature
// included; the connection is not.
func BenchmarkServeHTTP(b *testing.B) {
	serve := benchServeHTTP(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := serve(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchServeHTTP(b testing.TB) func() error {
	config, d := benchConfig(b), benchDelivery(b)
	config.Credentials = xmatrix.Verifier{Keys: config.Keys, Now: time.Now}.Credentials
	rc := benchReceiver(b, config)
	body, err := d.Request.MarshalV2()
	if err != nil {
		b.Fatal(err)
	}
	path := "/_matrix/federation/v2/invite/" + url.PathEscape(d.RoomID) + "/" + url.PathEscape(d.EventID)
	request := httptest.NewRequest(http.MethodPut, path, nil)
	if err := xmatrix.Sign(context.Background(), request, body, benchInvitee, invitetest.Signer(benchInviter)); err != nil {
		b.Fatal(err)
	}
	request.ContentLength = int64(len(body))
	reader := bytes.NewReader(body)
	return func() error {
		reader.Reset(body)
		r := *request
		r.Body = io.NopCloser(reader)
		w := &discardResponse{header: http.Header{}}
		rc.ServeHTTP(w, &r)
		if w.status != http.StatusOK {
			return fmt.Errorf("status %d", w.status)
		}
		return nil
	}
}

// discardResponse costs less than the recorder of httptest, which would be
// measured too.
type discardResponse struct {
	header http.Header
	status int
}

func (w *discardResponse) Header() http.Header { return w.header }

func (w *discardResponse) WriteHeader(status int) { w.status = status }

func (w *discardResponse) Write(b []byte) (int, error) { return len(b), nil }

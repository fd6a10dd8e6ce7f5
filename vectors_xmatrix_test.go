package fedinvite_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// vectorWorld is what a receiving server is and knows.
type vectorWorld struct {
	Now     int64 `json:"now"`
	Servers map[fedinvite.ServerName]struct {
		KeyID  string `json:"key_id"`
		Seed   string `json:"seed"`
		Public string `json:"public_key"`
	} `json:"servers"`
	Keys        vectorKeys             `json:"keys"`
	Unavailable []fedinvite.ServerName `json:"unavailable"`
	ACL         string                 `json:"server_acl"`
	Policy      string                 `json:"policy"`
	RoomState   string                 `json:"room_state"`
}

// keySource has the keys of the world, and an outage for those that cannot be had. No key
// is valid for more than 7 days from now on, which is a KeySource's to see to.
func (w vectorWorld) keySource(t testing.TB) fedinvite.KeySource {
	t.Helper()
	keys := w.Keys.keyMap(t)
	limit := time.UnixMilli(w.Now).AddDate(0, 0, 7)
	for _, known := range keys {
		for id, key := range known {
			if key.ValidUntil.After(limit) {
				key.ValidUntil = limit
				known[id] = key
			}
		}
	}
	return vectorSource{keys, w.Unavailable}
}

type vectorSource struct {
	fedinvite.KeyMap
	unavailable []fedinvite.ServerName
}

func (s vectorSource) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	if slices.Contains(s.unavailable, server) {
		return fedinvite.VerifyKey{}, errors.New("not to be had now")
	}
	return s.KeyMap.VerifyKey(ctx, server, id, at)
}

func (w vectorWorld) credentials(t testing.TB) func(*http.Request) (fedinvite.Credentials, error) {
	t.Helper()
	return xmatrix.Verifier{Keys: w.keySource(t), Now: func() time.Time { return time.UnixMilli(w.Now) }}.Credentials
}

// vectorRequest is an HTTP request as it arrives.
type vectorRequest struct {
	Method     string      `json:"method"`
	Target     string      `json:"target"`
	Headers    [][2]string `json:"headers"`
	Body       string      `json:"body"`
	BodyBase64 string      `json:"body_base64"`
	BodyGen    *vectorGen  `json:"body_gen"`
}

func (r vectorRequest) bytes(t testing.TB) []byte {
	t.Helper()
	if r.BodyGen != nil {
		return r.BodyGen.bytes()
	}
	return vectorText(t, r.Body, r.BodyBase64)
}

func (r vectorRequest) http(t testing.TB) *http.Request {
	t.Helper()
	req := httptest.NewRequest(r.Method, r.Target, bytes.NewReader(r.bytes(t)))
	for _, h := range r.Headers {
		req.Header.Add(h[0], h[1])
	}
	return req
}

// vectorOutcome is one way in which a request may end.
type vectorOutcome struct {
	Level   string               `json:"level"`
	Result  string               `json:"result"`
	Status  int                  `json:"status"`
	Errcode fedinvite.Code       `json:"errcode"`
	Version string               `json:"room_version"`
	Origin  fedinvite.ServerName `json:"origin"`
	Event   string               `json:"event"`
	Stored  *vectorStored        `json:"stored"`
}

type vectorStored struct {
	RoomVersion fedinvite.RoomVersion `json:"room_version"`
	RoomID      string                `json:"room_id"`
	EventID     string                `json:"event_id"`
	Sender      string                `json:"sender"`
	Invitee     string                `json:"invitee"`
	Redacted    bool                  `json:"redacted"`
	RoomState   []string              `json:"room_state"`
}

type headerVector struct {
	vectorHead
	Header      string               `json:"header"`
	Expect      string               `json:"expect"`
	Origin      fedinvite.ServerName `json:"origin"`
	Destination fedinvite.ServerName `json:"destination"`
	Key         fedinvite.KeyID      `json:"key"`
	Sig         string               `json:"sig"`
}

func TestVectorsXMatrixParse(t *testing.T) {
	for _, c := range vectors[headerVector](t, "xmatrix/parse").Cases {
		t.Run(c.Name, func(t *testing.T) {
			got, err := xmatrix.Parse(c.Header)
			wantAccept(t, c.Expect, err)
			if err != nil || c.Expect != "accept" {
				return
			}
			want := xmatrix.Auth{Origin: c.Origin, Destination: c.Destination, Key: c.Key, Sig: c.Sig}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

type requestSignVector struct {
	vectorHead
	Method        string               `json:"method"`
	Target        string               `json:"target"`
	Origin        string               `json:"origin"`
	Destination   fedinvite.ServerName `json:"destination"`
	Body          string               `json:"body"`
	KeyID         string               `json:"key_id"`
	Seed          string               `json:"seed"`
	SignedBytes   string               `json:"signed_bytes"`
	Signature     string               `json:"signature"`
	Authorization string               `json:"authorization"`
}

func TestVectorsXMatrixSign(t *testing.T) {
	for _, c := range vectors[requestSignVector](t, "xmatrix/sign").Cases {
		t.Run(c.Name, func(t *testing.T) {
			signer := &recordingSigner{Signer: signerFromSeed(t, c.Origin, c.KeyID, c.Seed)}
			// What a client can send is signed, everything is verified.
			if target, ok := clientURL(c.Target); ok {
				req := &http.Request{Method: c.Method, URL: target}
				if err := xmatrix.Sign(t.Context(), req, []byte(c.Body), c.Destination, signer); err != nil {
					t.Fatal(err)
				}
				got := []string{string(signer.message), req.Header.Get("Authorization")}
				if diff := gocmp.Diff([]string{c.SignedBytes, c.Authorization}, got); diff != "" {
					t.Errorf("signed bytes and header: -want +got\n%s", diff)
				}
			}
			keys := fedinvite.KeyMap{}
			keys.Add(signer)
			if err := keys[signer.ServerName()][signer.KeyID()].Verify([]byte(c.SignedBytes), fromBase64(t, c.Signature+"==")); err != nil {
				t.Error(err)
			}
			req := httptest.NewRequest(c.Method, "/", strings.NewReader(c.Body))
			req.RequestURI = c.Target
			req.Header.Set("Authorization", c.Authorization)
			credentials, err := xmatrix.Verifier{Keys: keys, Now: time.Now}.Credentials(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := credentials.Verify(t.Context(), []byte(c.Body)); err != nil {
				t.Error(err)
			}
		})
	}
}

// clientURL returns the URL for which net/http sends target, if there is one.
func clientURL(target string) (*url.URL, bool) {
	u, err := url.ParseRequestURI(target)
	return u, err == nil && u.RequestURI() == target
}

type requestVerifyVector struct {
	vectorHead
	World   string          `json:"world"`
	Request vectorRequest   `json:"request"`
	Expect  []vectorOutcome `json:"expect"`
}

func TestVectorsXMatrixVerify(t *testing.T) {
	file := vectors[requestVerifyVector](t, "xmatrix/verify")
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			world, ok := file.Worlds[c.World]
			if !ok {
				t.Fatalf("no world %q", c.World)
			}
			got := vectorOutcome{Result: "accept"}
			credentials, err := world.credentials(t)(c.Request.http(t))
			if err == nil && world.Servers[credentials.Destination].KeyID == "" {
				err = fedinvite.ErrUnauthorized // a destination that is not ours is for the caller to see
			}
			if err == nil {
				err = credentials.Verify(t.Context(), c.Request.bytes(t))
			}
			got.Origin = credentials.Origin
			if e := fedinvite.WireError(err); e != nil {
				got = vectorOutcome{Result: "refuse", Status: e.Status, Errcode: e.Code}
			}
			expect := c.Expect[:1]
			if c.Name == "no destination" { // a Verifier may not know for whom the request is
				expect = c.Expect
			}
			for _, want := range expect {
				if want.Result == got.Result && want.Origin == got.Origin &&
					cmp.Or(want.Status, got.Status) == got.Status && cmp.Or(want.Errcode, got.Errcode) == got.Errcode {
					return
				}
			}
			t.Errorf("%+v (error %v), want one of %+v", got, err, expect)
		})
	}
}

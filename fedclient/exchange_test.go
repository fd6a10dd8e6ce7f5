package fedclient_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

func exchangeWith(inviter fedinvite.ServerName) thirdparty.Exchange {
	return thirdparty.Exchange{
		RoomID: "!r/+%:room.ex", Sender: "@a:" + string(inviter), Invitee: "@b:b.ex", DisplayName: "b…@mail.ex",
		Signed: json.RawMessage(`{"mxid":"@b:b.ex","signatures":{"id.ex":{"ed25519:0":"` + strings.Repeat("A", 86) + `"}},"token":"abc"}`),
	}
}

func TestExchangeThirdPartyInvite(t *testing.T) {
	us := invitetest.Signer("b.ex")
	l := newListener(t, us, answerJSON(200, "{}"))
	e := exchangeWith(l.name)
	if err := l.client.ExchangeThirdPartyInvite(t.Context(), e, us); err != nil {
		t.Fatal(err)
	}
	if l.method != "PUT" || l.target != "/_matrix/federation/v1/exchange_third_party_invite/%21r%2F+%25:room.ex" {
		t.Errorf("%s %s", l.method, l.target)
	}
	got, err := thirdparty.ParseExchange(l.body)
	if err == nil {
		err = got.Check(e.RoomID, "b.ex", l.name)
	}
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(e, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnswersToAnExchange(t *testing.T) {
	us := invitetest.Signer("b.ex")
	l := newListener(t, us, nil)
	exchange := func(answer http.HandlerFunc) error {
		l.answer = answer
		return l.client.ExchangeThirdPartyInvite(t.Context(), exchangeWith(l.name), us)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON":        answerJSON(200, "ok"),
		"nothing":        answerJSON(200, ""),
		"an array":       answerJSON(200, "[]"),
		"null":           answerJSON(200, "null"),
		"duplicate keys": answerJSON(200, `{"a":1,"a":1}`),
		"a page":         answerWith(200, "text/html", "{}"),
		"huge":           answerJSON(200, "{}"+strings.Repeat(" ", 1<<20)),
	} {
		if err := exchange(answer); !errors.Is(err, fedclient.ErrReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var remote *fedclient.RemoteError
	if err := exchange(answerJSON(403, `{"errcode":"M_FORBIDDEN"}`)); !errors.As(err, &remote) || remote.Server != l.name {
		t.Errorf("403: %v", err)
	}
	if err := exchange(hangsUp); !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("no answer: %v", err)
	}
}

func TestExchangesThatCannotBe(t *testing.T) {
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("no")
	}))
	for name, c := range map[string]struct {
		change func(e *thirdparty.Exchange)
		want   error // nil: any
	}{
		"invitee elsewhere": {func(e *thirdparty.Exchange) { e.Invitee = "@b:c.ex" }, fedinvite.ErrNotLocal},
		"inviter of ours":   {func(e *thirdparty.Exchange) { e.Sender = "@a:b.ex" }, fedinvite.ErrOrigin},
		"no room":           {func(e *thirdparty.Exchange) { e.RoomID = "" }, fedinvite.ErrIdentifier},
		"no room ID":        {func(e *thirdparty.Exchange) { e.RoomID = ".." }, fedinvite.ErrIdentifier},
		"no sender":         {func(e *thirdparty.Exchange) { e.Sender = "" }, fedinvite.ErrIdentifier},
		"sender no user":    {func(e *thirdparty.Exchange) { e.Sender = "@a:a.ex/x" }, fedinvite.ErrIdentifier},
		"no invitee":        {func(e *thirdparty.Exchange) { e.Invitee = "" }, fedinvite.ErrIdentifier},
		"signed no object":  {func(e *thirdparty.Exchange) { e.Signed = json.RawMessage(`[]`) }, nil},
		"signed nothing":    {func(e *thirdparty.Exchange) { e.Signed = nil }, nil},
		"signed for others": {func(e *thirdparty.Exchange) {
			e.Signed = json.RawMessage(`{"mxid":"@c:b.ex","signatures":{},"token":"abc"}`)
		}, nil},
	} {
		e, n := exchangeWith("a.ex"), newNotary(t)
		c.change(&e)
		if err := client.ExchangeThirdPartyInvite(t.Context(), e, n); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(n.signed) > 0 {
			t.Errorf("%s: signed %v", name, n.signed)
		}
	}
	if err := client.ExchangeThirdPartyInvite(t.Context(), exchangeWith("a.ex"), nil); err == nil {
		t.Error("without a signer: no error")
	}
}

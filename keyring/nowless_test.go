package keyring_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestWithoutNowTheTimeIsThatOfTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := invitetest.Signer("a.ex")
		h := newHandler(t, keyring.PublishConfig{Local: keyring.Signers(a), Default: "a.ex"})
		n := newNetwork()
		publish := func() {
			t.Helper()
			body := get(t, h, "a.ex")
			if until := gjson.Get(body, "valid_until_ts").Int(); until != time.Now().Add(day).UnixMilli() {
				t.Errorf("valid until %s", time.UnixMilli(until))
			}
			n.publish("a.ex", []byte(body))
		}
		ring, err := keyring.New(keyring.Config{Fetcher: n})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it has run out, as the Ring knows too
			publish()
			key, err := ring.VerifyKey(t.Context(), "a.ex", "ed25519:1", time.Now())
			if err != nil || !key.ValidUntil.Equal(time.Now().Add(day).Truncate(time.Millisecond)) {
				t.Errorf("%+v, %v", key, err)
			}
			time.Sleep(day + time.Second)
		}
		if got := n.fetches("a.ex"); got != 2 {
			t.Errorf("%d fetches, want 2", got)
		}
	})
}

// However many layers an error has come through.
func TestAnErrorNamesTheServerOnce(t *testing.T) {
	s := newScene(t)
	_, plain := s.key("a.ex", "ed25519:1")
	failed := func(text string) error {
		_, err := newScene(t, func(c *keyring.Config) { c.Fetcher = fails(errors.New(text)) }).key("a.ex", "ed25519:1")
		return err
	}
	for name, err := range map[string]error{
		"a fetch":                  plain,
		"Prefetch":                 s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"b.ex"}),
		"a bad name":               s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex/"}),
		"a Fetcher that names it":  failed("GET a.ex: refused"),
		"one that does not":        failed("refused"),
		"no name, with Prefetch":   s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"b.ex"}),
		"an error that Local gave": keyring.PrefetchError{{Server: "a.ex", Err: errDown}},
	} {
		if err == nil || strings.Count(err.Error(), ".ex") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

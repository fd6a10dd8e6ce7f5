package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// conformanceArgs are those with which a server of the site is tried.
func conformanceArgs(t testing.TB, s *server, further ...string) []string {
	t.Helper()
	args := []string{"conformance", "-target", "https://" + s.name, "-server-name", s.name, "-listen", freeAddress(t),
		"-tls-cert", s.cert, "-tls-key", s.tlsKey, "-ca", s.ca, "-invitee", s.user("bob"), "-invitee", s.user("carol")}
	return append(args, further...)
}

func TestConformanceOfServe(t *testing.T) {
	t.Parallel()
	s := newSite(t).serve(t)
	go func() { // what it prints is of no interest
		for range s.lines {
		}
	}()
	few := []string{"-only", "receive/v1*", "-only", "receive/type", "-only", "keys/document", "-only", "send/*"}
	t.Run("table", func(t *testing.T) {
		r := runCommand(t.Context(), "", conformanceArgs(t, s, append(few, "-versions", "1,11,12")...)...)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if r.status != statusOK || len(lines) != 7 || lines[0] != "ok       MUST     receive/v1" || lines[6] != "6 checks: 5 ok, 1 skipped" ||
			!strings.HasPrefix(r.err, "fedinvite: ") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		r := runCommand(t.Context(), "", conformanceArgs(t, s, "-json", "-only", "receive/type")...)
		var o struct{ Name, Level, Outcome string }
		if err := json.Unmarshal([]byte(r.out), &o); err != nil || o.Name != "receive/type" || o.Level != "SHOULD" || o.Outcome != "ok" {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("public", func(t *testing.T) {
		r := runCommand(t.Context(), "", conformanceArgs(t, s, "-public", "-only", "*/type", "-only", "attack/*")...)
		if r.status != statusOK || !strings.HasPrefix(r.out, "| check |") || strings.Contains(r.out, "attack") || strings.Count(r.out, "\n| [") != 2 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("attacks", func(t *testing.T) {
		if r := runCommand(t.Context(), "", conformanceArgs(t, s, "-only", "attack/authorization")...); r.status != statusUsage {
			t.Errorf("%+v", r)
		}
		r := runCommand(t.Context(), "", conformanceArgs(t, s, "-attacks", "-only", "event/*limit")...)
		if r.status != statusOK || strings.Count(r.out, "ok ") != 3 || !strings.Contains(r.err, "for the authors") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("another name", func(t *testing.T) {
		args := conformanceArgs(t, s, "-only", "keys/*", "-exchange")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], s.user(""), "@:elsewhere.test")
			if args[i] == "-server-name" {
				args[i+1] = "elsewhere.test"
			}
			if args[i] == "-invitee" {
				args[i+1] = "@bob:elsewhere.test"
			}
		}
		r := runCommand(t.Context(), "", args...)
		if r.status != statusRefused || !strings.Contains(r.out, "departs  MUST     keys/server-name") || !strings.Contains(r.out, "  > GET /_matrix/key/v2/server") ||
			!strings.Contains(r.err, "departs from 2 sentences") {
			t.Errorf("%+v", r)
		}
	})
}

// Nothing is tried of a server that cannot be reached, and that is no success.
func TestConformanceOfNobody(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t).serveArgs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // it waits for longer
	defer cancel()
	r := runCommand(ctx, "", conformanceArgs(t, s, "-only", "receive/v11", "-key", s.keyFile)...)
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	if r.status != statusRefused || r.out != "" || len(lines) != 2 || !strings.HasPrefix(lines[1], "fedinvite: there is no connection to https://"+s.name+": ") {
		t.Errorf("%+v", r)
	}
}

// A server that does not trust our certificate cannot fetch our keys: all that follows
// would say nothing.
func TestConformanceOfAServerWithoutOurKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t).serve(t)
	go func() {
		for range s.lines {
		}
	}()
	stranger, _ := newSite(t).serveArgs(t) // with a certificate of another authority
	r := runCommand(t.Context(), "", conformanceArgs(t, s, "-tls-cert", stranger.cert, "-tls-key", stranger.tlsKey)...)
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	if r.status != statusRefused || r.out != "" || len(lines) != 2 || !strings.Contains(lines[1], "has not fetched the keys of") ||
		!strings.Contains(lines[1], "(TLS: remote error: tls: ") {
		t.Errorf("%+v", r)
	}
}

// A departure is printed with its sentence, and with what the server says of it.
func TestConformanceOfADepartingServer(t *testing.T) {
	t.Parallel()
	s := newSite(t).serve(t)
	go func() {
		for range s.lines {
		}
	}()
	r := runCommand(t.Context(), "", conformanceArgs(t, s, "-only", "receive/unsigned-kept")...)
	if want := "departs  SHOULD   receive/unsigned-kept            the event in its answer has lost its unsigned\n" +
		"         All other fields of the event remain untouched: so does what is in unsigned.\n1 check: "; !strings.HasPrefix(r.out, want) {
		t.Errorf("%+v", r)
	}
}

func TestConformanceRefusesToStart(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t).serveArgs(t)
	for _, c := range []struct {
		further []string
		status  int
		err     string
	}{
		{[]string{"-versions", "1,99"}, statusUsage, "unknown room version"},
		{[]string{"-only", "nothing/*"}, statusUsage, "there is no such check"},
		{[]string{"-public", "-attacks"}, statusUsage, "not for publication"},
		{[]string{"-public", "-json"}, statusUsage, "exclude each other"},
		{[]string{"-listen", ":0"}, statusUsage, "-name is required"},
		{[]string{"-name", "a b"}, statusUsage, "server name"},
		{[]string{"-invitee", "@bob:elsewhere.test"}, statusUsage, "not a user of"},
		{[]string{"-target", "https://a.test/path"}, statusUsage, "of the form"},
		{[]string{"-target", "127.0.0.1:9448"}, statusUsage, "write https://127.0.0.1:9448"},
		{[]string{"-attacks", "-target", "127.0.0.1:9448"}, statusUsage, "write https://127.0.0.1:9448"},
		{[]string{"-name", s.name}, statusUsage, "has the name of the target"},
		{[]string{"-attacks", "-target", "https://198.41.0.4"}, statusRefused, "public internet"},
		{[]string{"-key", s.ca}, statusRefused, "unusable key"},
		{[]string{"-tls-cert", s.tlsKey}, statusRefused, "failed to find certificate"},
		{[]string{"further"}, statusUsage, "unexpected argument"},
	} {
		r := runCommand(t.Context(), "", conformanceArgs(t, s, c.further...)...)
		if r.status != c.status || !strings.Contains(r.err, c.err) || r.out != "" {
			t.Errorf("%q: %+v, want %q", c.further, r, c.err)
		}
	}
}

// A name may lead elsewhere by the time that it is dialled.
func TestAttacksAreDialledNearbyOnly(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"127.0.0.1:8448": true, "10.0.0.5:8448": true, "[::1]:8448": true, "[::ffff:10.0.0.5]:8448": true,
		"198.41.0.4:8448": false, "[::ffff:198.41.0.4]:8448": false, "[2001:500:9f::42]:8448": false, "a.test:8448": false,
	} {
		if err := nearbyOnly(t.Context(), "tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

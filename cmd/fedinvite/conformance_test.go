package main

import (
	"encoding/json"
	"strings"
	"testing"
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
	r := runCommand(t.Context(), "", conformanceArgs(t, s, "-only", "receive/v11", "-key", s.keyFile)...)
	if r.status != statusRefused || !strings.HasPrefix(r.out, "unknown  MUST     receive/v11") || !strings.Contains(r.err, "could not be told") {
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

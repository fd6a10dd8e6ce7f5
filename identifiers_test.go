package fedinvite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

func TestServerNamesFollowTheGrammar(t *testing.T) {
	for _, c := range []struct {
		name       string
		host, port string
		ok         bool
	}{
		// The specification's examples.
		{"matrix.org", "matrix.org", "", true},
		{"matrix.org:8888", "matrix.org", "8888", true},
		{"1.2.3.4", "1.2.3.4", "", true},
		{"1.2.3.4:1234", "1.2.3.4", "1234", true},
		{"[1234:5678::abcd]", "1234:5678::abcd", "", true},
		{"[1234:5678::abcd]:5678", "1234:5678::abcd", "5678", true},

		{"localhost", "localhost", "", true},
		{"a", "a", "", true},
		{"A-b.EXAMPLE", "A-b.EXAMPLE", "", true}, // case is kept
		{"xn--bcher-kva.example", "xn--bcher-kva.example", "", true},
		{"a.example.", "a.example.", "", true},
		{"1.2.3", "1.2.3", "", true}, // a DNS name
		{"1.2.3.4.5", "1.2.3.4.5", "", true},
		{"1.2.3.a", "1.2.3.a", "", true},
		{"a.example:0", "a.example", "0", true},
		{"a.example:65535", "a.example", "65535", true},
		{"a.example:00080", "a.example", "00080", true},
		{"[::]", "::", "", true},
		{"[::1]", "::1", "", true},
		{"[::ffff:1.2.3.4]:80", "::ffff:1.2.3.4", "80", true},
		{"[ABCD::1]", "ABCD::1", "", true},
		{strings.Repeat("a", 255), strings.Repeat("a", 255), "", true},
		{strings.Repeat("a", 250) + ":8448", strings.Repeat("a", 250), "8448", true},

		{name: ""},
		{name: strings.Repeat("a", 256)},
		{name: strings.Repeat("a", 251) + ":8448"},
		{name: ":"},
		{name: ":80"},
		{name: "a.example:"},
		{name: "a.example:x"},
		{name: "a.example:-1"},
		{name: "a.example:+1"},
		{name: "a.example:8_0"},
		{name: "a.example: 80"},
		{name: "a.example:123456"},
		{name: "a.example:000080"},
		{name: "a.example:80:80"},
		{name: "a.example:８０"}, // digits, but not those of ASCII
		{name: "a_b.example"},
		{name: "a b"},
		{name: " a.example"},
		{name: "a.example\n"},
		{name: "a.example\x00"},
		{name: "é.example"},
		{name: "a.exam\xffple"},
		{name: "a.example/x"},
		{name: "user@a.example"},
		{name: "a%2eexample"},
		{name: "*.example"},
		{name: "256.1.1.1"},
		{name: "1.2.3.1234"},
		{name: "1.2.3.4:"},
		{name: "::1"},
		{name: "[::1"},
		{name: "::1]"},
		{name: "[]"},
		{name: "[]:80"},
		{name: "["},
		{name: "]"},
		{name: "[::1]]"},
		{name: "[[::1]]"},
		{name: "[::1]x"},
		{name: "[::1]80"},
		{name: "[::1]:"},
		{name: "[::1]:x"},
		{name: "[::1%eth0]"},
		{name: "[fe80::1%25eth0]:80"},
		{name: "[1.2.3.4]"},
		{name: "[a.example]"},
		{name: "[::g]"},
		{name: "[1:2:3:4:5:6:7:8:9]"},
	} {
		got, err := fedinvite.ParseServerName(c.name)
		if !c.ok {
			if !errors.Is(err, fedinvite.ErrIdentifier) || got != "" {
				t.Errorf("%q: %q, error %v, want ErrIdentifier", c.name, got, err)
			}
			continue
		}
		if err != nil || string(got) != c.name {
			t.Errorf("%q: %q, error %v", c.name, got, err)
		}
		if diff := cmp.Diff([]string{c.host, c.port}, []string{got.Host(), got.Port()}); diff != "" {
			t.Errorf("%q: host and port: -want +got\n%s", c.name, diff)
		}
	}
}

func TestServerNamesAreComparedWithTheirCase(t *testing.T) {
	lower, err := fedinvite.ParseServerName("matrix.org")
	if err != nil {
		t.Fatal(err)
	}
	upper, err := fedinvite.ParseServerName("MATRIX.ORG")
	if err != nil {
		t.Fatal(err)
	}
	if lower == upper {
		t.Error("matrix.org and MATRIX.ORG are the same")
	}
}

func TestUserIDsMayBeHistorical(t *testing.T) {
	long := strings.Repeat("a", 255-len("@:a.example"))
	for _, c := range []struct {
		id, local string
		server    fedinvite.ServerName
		ok        bool
	}{
		{"@alice:a.example", "alice", "a.example", true},
		{"@alice:a.example:8448", "alice", "a.example:8448", true},
		{"@alice:[::1]:8448", "alice", "[::1]:8448", true},
		{"@alice:1.2.3.4", "alice", "1.2.3.4", true},
		{"@a.b_c=d-e/f+9:a.example", "a.b_c=d-e/f+9", "a.example", true},
		// "servers MUST accept user IDs with localparts consisting of any legal
		// non-surrogate Unicode code points except for : and NUL, including other
		// control characters and the empty string"
		{"@:a.example", "", "a.example", true},
		{"@ALICE:a.example", "ALICE", "a.example", true},
		{"@@alice:a.example", "@alice", "a.example", true},
		{"@a b\t\n\x01\x7f:a.example", "a b\t\n\x01\x7f", "a.example", true},
		{"@böb😀\uFFFD\uFFFF:a.example", "böb😀\uFFFD\uFFFF", "a.example", true},
		{"@*!#$\"\\:a.example", "*!#$\"\\", "a.example", true},
		{"@" + long + ":a.example", long, "a.example", true},

		{id: ""},
		{id: "@"},
		{id: ":"},
		{id: "@:"},
		{id: "@alice"},
		{id: "@alice:"},
		{id: "alice:a.example"},
		{id: "!alice:a.example"},
		{id: " @alice:a.example"},
		{id: "@alice:a.example "},
		{id: "@al:ice:a.example"},
		{id: "@alice:a_b"},
		{id: "@alice:::1"},
		{id: "@al\x00ice:a.example"},
		{id: "@al\xffice:a.example"},
		{id: "@al\xed\xa0\x80ice:a.example"}, // a surrogate
		{id: "@a" + long + ":a.example"},     // 256 bytes
		{id: "@" + strings.Repeat("é", 125) + ":a.example"}, // 136 characters, 261 bytes
	} {
		local, server, err := fedinvite.ParseUserID(c.id)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fedinvite.ErrIdentifier) {
			t.Errorf("%q: error %v, want one: %v", c.id, err, !c.ok)
		}
		if local != c.local || server != c.server {
			t.Errorf("%q: %q on %q, want %q on %q", c.id, local, server, c.local, c.server)
		}
	}
}

func TestIdentifierErrorsQuoteNoMoreThanTheyMust(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	_, nameErr := fedinvite.ParseServerName(long)
	_, _, userErr := fedinvite.ParseUserID("@" + long)
	_, keyErr := fedinvite.ParseKeyID("ed25519:" + long)
	for _, err := range []error{nameErr, userErr, keyErr} {
		if !errors.Is(err, fedinvite.ErrIdentifier) || len(err.Error()) > 400 {
			t.Errorf("error of %d bytes: %.80s", len(err.Error()), err)
		}
	}
}

package policy_test

import (
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/glob"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

func TestBlockServers(t *testing.T) {
	for _, c := range []struct {
		name    string
		pattern string
		server  fedinvite.ServerName
		want    verdict
	}{
		{"the name itself", "evil.example", "evil.example", forbidden},
		{"another name", "evil.example", "good.example", allowed},
		{"a name that ends alike", "evil.example", "devil.example", allowed},
		{"a name that begins alike", "evil.example", "evil.example.org", allowed},
		{"subdomains need a pattern of their own", "evil.example", "x.evil.example", allowed},
		{"an empty pattern matches nothing", "", "evil.example", allowed},
		{"an empty pattern does not match the empty name", "", "", allowed},

		// Appendices, "Glob-style matching".
		{"The character * matches one or more characters", "*.evil.example", "x.y.evil.example", forbidden},
		{"The character * matches zero characters", "evil*.example", "evil.example", forbidden},
		{"* alone matches everything", "*", "good.example", forbidden},
		{"the dot before a * has to be there", "*.evil.example", "evil.example", allowed},
		{"* in the middle", "e*l.example", "every.evil.example", forbidden},
		{"two *", "*evil*", "the-evil-twin.example", forbidden},
		{"begin and end must not overlap", "ab*ba", "aba", allowed},
		{"? matches exactly one character", "evi?.example", "evil.example", forbidden},
		{"? does not match two characters", "evi?.example", "evill.example", allowed},
		{"? does not match zero characters", "evil?.example", "evil.example", allowed},
		{"a dot is a dot", "evil.example", "evilxexample", allowed},
		{"brackets are no set", "evi[l].example", "evil.example", allowed},

		// A block list must not be dodged.
		{"by case", "evil.example", "EVIL.example", forbidden},
		{"by case, with a glob", "*.evil.example", "x.Evil.Example", forbidden},
		{"by case of the pattern", "EVIL.*", "evil.example", forbidden},
		{"by case of the plain pattern", "Evil.Example", "evil.example", forbidden},
		{"by port", "evil.example", "evil.example:8448", forbidden},
		{"by another port", "evil.example", "evil.example:1", forbidden},
		{"by port, with a glob", "*.example", "evil.example:8448", forbidden},
		{"by case and port", "evil.example", "EVIL.example:8448", forbidden},
		{"by a dot at the end", "evil.example", "evil.example.", forbidden},
		{"by dots, case and port", "evil.example", "EVIL.example..:8448", forbidden},
		{"by a dot at the end, with a glob", "*.example", "evil.example.", forbidden},
		{"by a dot of the pattern", "evil.example.", "evil.example", forbidden},
		{"by a dot of a pattern with a glob", "*.evil.example.", "x.evil.example", forbidden},
		{"by a dot of a pattern with a glob and a port", "*.evil.example.:8448", "x.evil.example:8448", forbidden},
		{"a pattern of dots matches names of dots", "..", ".", forbidden},
		{"a pattern of dots matches nothing else", "..", "evil.example", allowed},

		{"a pattern with a port", "evil.example:8448", "EVIL.example:8448", forbidden},
		{"a pattern with a port, the name with another", "evil.example:8448", "evil.example:8449", allowed},
		{"a pattern with a port, the name without", "evil.example:8448", "evil.example", allowed},
		{"by zeros before the port", "evil.example:8448", "evil.example:08448", forbidden},
		{"by zeros before the port of the pattern", "evil.example:08448", "evil.example:8448", forbidden},
		{"by zeros before the port, with a glob", "*.example:8448", "evil.example:08448", forbidden},
		{"by zeros before the port of a pattern with a glob", "*.example:08448", "evil.example:8448", forbidden},
		{"by zeros before the port of an address", "[2001:db8::1]:80", "[2001:DB8::1]:00080", forbidden},
		{"by zeros that are the port", "evil.example:0", "evil.example:00000", forbidden},
		{"by zeros before the port, the pattern without", "evil.example", "evil.example.:08448", forbidden},
		{"zeros at the end of a port count", "evil.example:80", "evil.example:8000", allowed},
		{"a port with wildcards is text", "evil.example:0*", "evil.example:80", allowed},
		{"a pattern for all ports", "*:*", "evil.example:8448", forbidden},
		{"a pattern for all ports, the name without", "*:*", "evil.example", allowed},

		{"IPv4", "192.0.2.*", "192.0.2.7:8448", forbidden},
		{"IPv4 with a dot at the end", "192.0.2.7", "192.0.2.7.", forbidden},
		{"IPv6", "[2001:db8::1]", "[2001:db8::1]", forbidden},
		{"IPv6 with port", "[2001:db8::1]", "[2001:db8::1]:8448", forbidden},
		{"IPv6 by case", "[2001:db8::a]", "[2001:DB8::A]", forbidden},
		{"IPv6 by zeros", "[2001:db8::1]", "[2001:0db8:0:0:0:0:0:1]:8448", forbidden},
		{"IPv6 by zeros of the pattern", "[2001:0db8:0::1]", "[2001:db8::1]", forbidden},
		{"IPv6 by zeros, with a glob", "[2001:db8:*]", "[2001:0db8::1]", forbidden},
		{"IPv6, another address", "[2001:db8::1]", "[2001:db8::2]", allowed},
		{"IPv4 in IPv6", "192.0.2.7", "[::ffff:192.0.2.7]:8448", forbidden},
		{"IPv4 in IPv6, in hexadecimal", "192.0.2.*", "[::FFFF:c000:207]", forbidden},
		{"IPv4 in IPv6 as the pattern", "[::ffff:192.0.2.7]", "192.0.2.7", forbidden},
		{"what looks like IPv6 in a pattern and is none", "[x]", "[2001:db8::1]", allowed},
		{"what begins like IPv6 in a pattern is text", "[2001:db8:*", "[2001:0db8::1]", forbidden},
		{"a whole address before a wildcard is text", "[::1:*", "[::1:2:3]:80", forbidden},
		{"IPv4 as one number", "1.2.3.4", "16909060", forbidden},
		{"IPv4 as one number, with port", "1.2.3.4", "16909060:8448", forbidden},
		{"IPv4 as one hexadecimal number", "1.2.3.4", "0x1020304", forbidden},
		{"IPv4 in hexadecimal, by case", "1.2.3.4", "0X1.2.3.4", forbidden},
		{"IPv4 as one octal number", "1.2.3.4", "0100401404", forbidden},
		{"IPv4 of two numbers", "127.0.0.1", "0x7f.1", forbidden},
		{"IPv4 of three numbers", "1.2.3.4", "1.2.772", forbidden},
		{"IPv4 of three numbers, with a glob", "1.2.*", "1.2.772:1", forbidden},
		{"IPv4 in octal", "127.0.0.1", "0177.1", forbidden},
		{"IPv4 in an odd form of the pattern", "0x7f.1", "127.0.0.1", forbidden},
		{"IPv4, the greatest", "255.255.255.255", "4294967295", forbidden},
		{"a number that is too great", "0.0.0.0", "4294967296", allowed},
		{"a part that is too great", "1.0.0.0", "256.1", allowed},
		{"a last part that is too great", "1.2.0.0", "1.2.65536", allowed},
		{"an octal number that is none", "8.0.0.1", "08.1", allowed},
		{"a name of digits and more", "1.2.3.4", "1.2.3.x4", allowed},
		{"a name of digits and more is itself", "1.2.3.x4", "1.2.3.X4", forbidden},
		{"a name of five numbers is itself", "1.2.3.4.5", "1.2.3.4.5", forbidden},
		{"a name of five numbers is no address", "1.2.3.5", "1.2.3.4.5", allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := &fedinvite.Invite{Origin: c.server, Destination: "b.example"}
			wants(t, policy.BlockServers("other.example", c.pattern, "*.other.example"), inv, c.want)
			if c.server != "" {
				if _, err := fedinvite.ParseServerName(string(c.server)); err != nil {
					t.Errorf("no server can have this name: %v", err)
				}
			}
		})
	}
	t.Run("no patterns", func(t *testing.T) { wants(t, policy.BlockServers(), inviteFrom(t, alice), allowed) })
}

func TestBlockUsers(t *testing.T) {
	for _, c := range []struct {
		name    string
		pattern string
		sender  string
		want    verdict
	}{
		{"the user itself", "@spam:a.example", "@spam:a.example", forbidden},
		{"another user", "@spam:a.example", "@alice:a.example", allowed},
		{"a user of that name elsewhere", "@spam:a.example", "@spam:c.example", allowed},
		{"an empty pattern matches nothing", "", "@spam:a.example", allowed},
		{"the pattern is for the whole ID", "spam", "@spam:a.example", allowed},
		{"the server alone is no pattern for its users", "a.example", "@spam:a.example", allowed},
		{"The character * matches zero or more characters", "@spam*:*", "@spam:a.example", forbidden},
		{"* on both sides", "@spam*:*", "@spam-42:x.a.example:8448", forbidden},
		{"all users of a server", "@*:a.example", "@x:a.example", forbidden},
		{"? matches exactly one character", "@spam?:a.example", "@spam1:a.example", forbidden},
		{"? does not match two characters", "@spam?:a.example", "@spam12:a.example", allowed},
		{"? matches a character of several bytes", "@sp?m:a.example", "@späm:a.example", forbidden},
		{"a * without ':'", "@spam*", "@spammer:a.example", forbidden},

		{"by case of the server", "@spam:a.example", "@spam:A.Example", forbidden},
		{"by case of the server, with a glob", "@*:a.example", "@spam:A.Example", forbidden},
		{"by case of the pattern's server", "@*:A.EXAMPLE", "@spam:a.example", forbidden},
		{"by port", "@spam:a.example", "@spam:a.example:8448", forbidden},
		{"by port, with a glob", "@*:a.example", "@spam:a.example:8448", forbidden},
		{"by case, port and dot", "@*:a.example", "@spam:A.example.:8448", forbidden},
		{"by the form of an address", "@*:[2001:db8::1]", "@spam:[2001:0DB8:0::1]:8448", forbidden},
		{"by the form of an IPv4 address", "@*:1.2.3.4", "@spam:0x1020304:8448", forbidden},
		{"by zeros before the port", "@*:a.example:8448", "@spam:a.example:08448", forbidden},
		{"by a dot of the pattern", "@*:a.example.", "@spam:a.example", forbidden},
		{"a localpart of digits and dots is no address", "@1.2.772:a.example", "@1.2.3.4:a.example", allowed},
		{"a pattern with a port", "@spam:a.example:8448", "@spam:A.example:8448", forbidden},
		{"a pattern with a port, the name without", "@spam:a.example:8448", "@spam:a.example", allowed},

		{"localparts are compared exactly", "@spam:a.example", "@Spam:a.example", allowed},
		{"localparts are compared exactly, with a glob", "@Spam*:a.example", "@spam1:a.example", allowed},
		{"a capital in both localparts", "@Spam*:a.example", "@Spam1:a.example", forbidden},
		{"an empty localpart", "@:a.example", "@:a.example", forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy.BlockUsers("@other:*", c.pattern, "@another:a.example")
			wants(t, p, inviteFrom(t, c.sender), c.want)
		})
	}
	t.Run("the invitee does not count", func(t *testing.T) { wants(t, policy.BlockUsers(bob), inviteFrom(t, alice), allowed) })
}

func TestBlockRooms(t *testing.T) {
	v12 := "!" + strings.Repeat("Aa_-", 10) + "xyz"
	for _, c := range []struct {
		name    string
		pattern string
		roomID  string
		want    verdict
	}{
		{"the room itself", "!room:a.example", "!room:a.example", forbidden},
		{"another room", "!room:a.example", "!hall:a.example", allowed},
		{"an empty pattern matches nothing", "", "!room:a.example", allowed},
		{"The character * matches zero or more characters", "!*:a.example", "!room:a.example", forbidden},
		{"? matches exactly one character", "!roo?:a.example", "!room:a.example", forbidden},
		{"? does not match two characters", "!ro?:a.example", "!room:a.example", allowed},
		{"by case of the server", "!*:a.example", "!room:A.example", forbidden},
		{"by port", "!*:a.example", "!room:a.example:8448", forbidden},
		{"what is before the ':' is compared exactly", "!room:a.example", "!Room:a.example", allowed},
		{"a room ID of version 12", v12, v12, forbidden},
		{"a room ID of version 12 is compared exactly", strings.ToLower(v12), v12, allowed},
		{"a room ID of version 12, with a glob", "!Aa_*", v12, forbidden},
		{"a room ID of version 12 has no server", "!*:a.example", v12, allowed},
		{"an alias matches nothing", "#room:a.example", "!room:a.example", allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy.BlockRooms("!other:*", c.pattern, "!another:a.example")
			wants(t, p, inviteTo(t, alice, c.roomID), c.want)
		})
	}
}

// Our logs name the pattern.
func TestRefusalsOfBlockListsNameThePattern(t *testing.T) {
	for pattern, p := range map[string]policy.Policy{
		`policy.BlockServers: "a.example"`:     policy.BlockServers("x", "a.example", "a*"),
		`policy.BlockUsers: "@al*:*.example"`:  policy.BlockUsers("@x:*", "@al*:*.example"),
		`policy.BlockRooms: "!room:a.ex?mple"`: policy.BlockRooms("!room:a.ex?mple"),
	} {
		if err := wants(t, p, inviteFrom(t, alice), forbidden); err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("error %v, want %s in it", err, pattern)
		}
	}
}

// BlockServers and KnownServers do with what the Admit hook has.
func TestBlockServersReadsTheOriginAlone(t *testing.T) {
	p := policy.BlockServers("*.example")
	wants(t, p, &fedinvite.Invite{Origin: "evil.example"}, forbidden)
	wants(t, p, &fedinvite.Invite{Origin: "a.test"}, allowed)
}

// No spelling of a blocked name passes, and a name in its usual spelling is matched
// by those patterns that the matcher of globs says.
func FuzzBlockServers(f *testing.F) {
	for _, name := range []string{
		"evil.example", "EVIL.example:8448", "e.", ".", "1.2.3.4", "1.2.3.4.:80", "[::1]", "[::FFFF:1.2.3.4]:1", "[2001:db8:0:0::1]",
		"evil.example:080", "0x7F.1:1", "1.2.772", "16909060",
	} {
		f.Add(name, "*.example")
		f.Add(name, "e?il*l*.ex?mple")
		f.Add(name, "?")
	}
	f.Fuzz(func(t *testing.T, name, pattern string) {
		server, err := fedinvite.ParseServerName(name)
		if err != nil {
			return
		}
		host, port := name, ""
		if p := server.Port(); p != "" {
			port = ":" + p
			host = strings.TrimSuffix(name, port)
		}
		zero := port
		if len(port) > 0 && len(port) < len(":12345") {
			zero = ":0" + port[1:]
		}
		for _, spelling := range []string{name, strings.ToUpper(name), host + "." + port, strings.ToLower(host) + ".." + zero} {
			inv := &fedinvite.Invite{Origin: fedinvite.ServerName(spelling)}
			wants(t, policy.BlockServers(name), inv, forbidden)
			wants(t, policy.BlockServers("x", spelling), &fedinvite.Invite{Origin: server}, forbidden)
		}
		wants(t, policy.BlockServers(host), &fedinvite.Invite{Origin: server}, forbidden)

		// Addresses, and what is folded in a pattern, are left to TestBlockServers.
		unusual := strings.ToLower(name) != name || strings.HasPrefix(port, ":0") || strings.HasSuffix(host, ".") ||
			strings.ContainsAny(name[:1]+pattern[:min(len(pattern), 1)], "[0123456789")
		folded := strings.Contains(pattern, ".:") || strings.HasSuffix(pattern, ".") || strings.Contains(pattern, ":0")
		if unusual || folded || !strings.ContainsAny(pattern, "*?") {
			return
		}
		want := allowed
		if lower := strings.ToLower(pattern); glob.Match(lower, name) || glob.Match(lower, host) {
			want = forbidden
		}
		wants(t, policy.BlockServers(pattern), &fedinvite.Invite{Origin: server}, want)
	})
}

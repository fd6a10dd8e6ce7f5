package fedinvite_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func serverACL(t *testing.T, content string) *fedinvite.ServerACL {
	t.Helper()
	a, err := fedinvite.ParseServerACL(json.RawMessage(content))
	if err != nil {
		t.Fatalf("%s: %v", content, err)
	}
	return a
}

type aclCase struct {
	content string
	server  fedinvite.ServerName
	want    bool
}

func checkACL(t *testing.T, cases []aclCase) {
	t.Helper()
	for _, c := range cases {
		if got := serverACL(t, c.content).Allows(c.server); got != c.want {
			t.Errorf("%s allows %s: %v", c.content, c.server, got)
		}
	}
}

// The rules are those of the description of m.room.server_acl, in their order.

func TestACLRule1WithoutServerACLAllow(t *testing.T) {
	var none *fedinvite.ServerACL
	for _, server := range []fedinvite.ServerName{"a.example", "1.2.3.4", "[::1]:8448", ""} {
		if !none.Allows(server) {
			t.Errorf("%q is denied", server)
		}
	}
}

func TestACLRule2IPLiteralsAreDeniedIfAllowIPLiteralsIsFalse(t *testing.T) {
	denied := `{"allow":["*","1.2.3.4","[::1]"],"allow_ip_literals":false}`
	cases := []aclCase{
		{denied, "1.2.3.4", false},
		{denied, "1.2.3.4:8448", false},
		{denied, "[::1]", false},
		{denied, "[::1]:8448", false},
		{denied, "[::ffff:1.2.3.4]", false},
		{denied, "[ABCD::1]", false},
		{denied, "a.example", true},
		{denied, "1.2.3.example", true},
		{denied, "1.2.3", true},
	}
	for _, allowed := range []string{`true`, `null`, `"false"`, `0`, `[]`, `{}`, `[false]`} {
		content := `{"allow":["*"],"allow_ip_literals":` + allowed + `}`
		cases = append(cases, aclCase{content, "1.2.3.4:8448", true}, aclCase{content, "[::1]", true})
	}
	cases = append(cases, aclCase{`{"allow":["*"]}`, "1.2.3.4", true})
	checkACL(t, cases)
}

func TestACLRule3DenyComesBeforeAllow(t *testing.T) {
	checkACL(t, []aclCase{
		{`{"allow":["*"],"deny":["evil.example"]}`, "evil.example", false},
		{`{"allow":["evil.example"],"deny":["evil.example"]}`, "evil.example", false},
		{`{"allow":["*"],"deny":["x","evil.*"]}`, "evil.example", false},
		{`{"allow":["*"],"deny":["*"]}`, "a.example", false},
		{`{"allow":["*"],"deny":["evil.example"]}`, "good.example", true},
		{`{"allow":["*"],"deny":["evil.example"]}`, "sub.evil.example", true},
		{`{"allow":["*"],"deny":["[::1]"]}`, "[::1]:80", false},
		{`{"allow":["*"],"deny":["1.2.*"]}`, "1.2.3.4", false},
	})
}

func TestACLRule4AllowAllows(t *testing.T) {
	checkACL(t, []aclCase{
		{`{"allow":["a.example"]}`, "a.example", true},
		{`{"allow":["x","*.example"]}`, "a.example", true},
		{`{"allow":["[::1]"]}`, "[::1]", true},
		{`{"allow":["[*]"]}`, "[::1]", true},
	})
}

func TestACLRule5OtherwiseDeny(t *testing.T) {
	checkACL(t, []aclCase{
		{`{}`, "a.example", false},
		{`{"allow":[]}`, "a.example", false},
		{`{"allow":["b.example"]}`, "a.example", false},
		{`{"deny":["b.example"]}`, "a.example", false},
		{`{"allow_ip_literals":true}`, "1.2.3.4", false},
		{`{"allow":["example"]}`, "a.example", false},
		{`{"allow":["a"]}`, "a.example", false},
		{`{"allow":[""]}`, "a.example", false},
	})
}

// "the suspect server's port number must not be considered"
func TestACLPortsDoNotCount(t *testing.T) {
	content := `{"allow":["*"],"deny":["evil.com","[::2]"]}`
	checkACL(t, []aclCase{
		{content, "evil.com", false},
		{content, "evil.com:8448", false},
		{content, "evil.com:1234", false},
		{content, "[::2]:1234", false},
		{content, "[::1]:2", true},
		{`{"allow":["a.example:8448"]}`, "a.example:8448", false}, // a pattern with a port matches nothing
	})
}

func TestACLCaseDoesNotCount(t *testing.T) {
	checkACL(t, []aclCase{
		{`{"allow":["A.Example"]}`, "a.eXAMPLE", true},
		{`{"allow":["*"],"deny":["EVIL.*"]}`, "evil.example", false},
		{`{"allow":["*"],"deny":["evil.*"]}`, "EVIL.example", false},
		{`{"allow":["[ABCD::*]"]}`, "[abcd::1]", true},
	})
}

func TestACLMembersOfTheWrongTypeCountAsAbsent(t *testing.T) {
	for _, wrong := range []string{`null`, `"*"`, `1`, `true`, `{"*":"*"}`} {
		checkACL(t, []aclCase{
			{`{"allow":` + wrong + `}`, "a.example", false},
			{`{"allow":["*"],"deny":` + wrong + `}`, "a.example", true},
		})
	}
	checkACL(t, []aclCase{
		{`{"allow":[null,1,["*"],{"*":1},"a.example"]}`, "a.example", true},
		{`{"allow":[null,1,["*"],{"*":1},"a.example"]}`, "b.example", false},
		{`{"allow":["*"],"deny":[["*"],null,"b.example"]}`, "a.example", true},
		{`{"allow":["*"],"deny":[["*"],null,"b.example"]}`, "b.example", false},
		{`{"allow":["\u0061.example"]}`, "a.example", true},
		{`{"\u0061llow":["*"]}`, "a.example", true},
		{`{"Allow":["*"],"ALLOW":["*"]}`, "a.example", false},
		{`{"allow":["*"],"x":1.5e300}`, "a.example", true},
	})
}

func TestACLContentMustBeAnObject(t *testing.T) {
	for content, want := range map[string]error{
		``: fedinvite.ErrNotJSON, `{`: fedinvite.ErrNotJSON, `null`: fedinvite.ErrBadJSON, `[]`: fedinvite.ErrBadJSON,
		`"*"`: fedinvite.ErrBadJSON, `{"allow":["*"],"allow":[]}`: fedinvite.ErrDuplicateKey,
	} {
		if a, err := fedinvite.ParseServerACL(json.RawMessage(content)); !errors.Is(err, want) || a != nil {
			t.Errorf("%q: %v, error %v, want %v", content, a, err, want)
		}
	}
}

func TestACLGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"*", "a.example", true},
		{"**", "a.example", true},
		{"***", "a", true},
		{"?", "a", true},
		{"?", "ab", false},
		{"??", "a", false},
		{"*?", "a", true},
		{"?*", "a", true},
		{"?*?", "a", false},
		{"?*?", "ab", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"a?c", "abbc", false},
		{"a*c", "ac", true},
		{"a*c", "abbc", true},
		{"a*c", "abcb", false},
		{"a*c", "abcbc", true},
		{"*.example", "a.example", true},
		{"*.example", "a.b.example", true},
		{"*.example", ".example", true},
		{"*.example", "example", false},
		{"a.*", "a.", true},
		{"a.*", "a", false},
		{"*a*b*", "xaxbx", true},
		{"*a*b*", "xbxax", false},
		{"*ab", "aab", true},
		{"*aab", "aaab", true},
		{"*a.b*a.c", "a.b.a.b.a.c", true},
		{"evil*.com*x", "evil.com", false},
		{"a.b", "axb", false}, // '.' is not special
		{"[ab]", "a", false},  // nor is '['
		{"a.example*", "a.example", true},
		{"", "a", false},
		{"é", "e", false},
		{`\\*`, "a", false}, // nothing escapes
	} {
		content := `{"allow":["` + c.pattern + `"]}`
		if got := serverACL(t, content).Allows(fedinvite.ServerName(c.host)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.host, got)
		}
	}
}

// A matcher that goes back to every '*' would not end in a lifetime.
func TestACLHostilePatternsEnd(t *testing.T) {
	name := strings.Repeat("a", 255)
	for pattern, want := range map[string]bool{
		strings.Repeat("*a", 120) + "b":               false,
		strings.Repeat("a*", 120) + "b":               false,
		strings.Repeat("*?", 120) + "b":               false,
		strings.Repeat("*a", 120):                     true,
		strings.Repeat("*a", 255) + "*":               true,
		strings.Repeat("*a", 256):                     false,
		strings.Repeat("*", 60000):                    true,
		strings.Repeat("*", 60000) + "b":              false,
		strings.Repeat("?", 60000):                    false,
		strings.Repeat("*aaaaaaaaaaaaaaaa", 15) + "b": false,
	} {
		if got := serverACL(t, `{"allow":["`+pattern+`"]}`).Allows(fedinvite.ServerName(name)); got != want {
			t.Errorf("%.40s… of %d bytes: %v", pattern, len(pattern), got)
		}
	}
}

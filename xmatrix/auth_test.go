package xmatrix_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var plain = xmatrix.Auth{Origin: "a.ex", Destination: "us.ex", Key: "ed25519:1", Sig: "c2ln"}

func TestParse(t *testing.T) {
	with := func(change func(a *xmatrix.Auth)) xmatrix.Auth {
		a := plain
		change(&a)
		return a
	}
	noDestination := with(func(a *xmatrix.Auth) { a.Destination = "" })
	for _, c := range []struct {
		name, header string
		want         xmatrix.Auth
	}{
		{"the form that is written", `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`, plain},
		{"the scheme is case-insensitive", `x-mATRIX origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`, plain},
		{"names are case-insensitive", `X-Matrix Origin="a.ex",DESTINATION="us.ex",kEy="ed25519:1",SIG="c2ln"`, plain},
		{"order does not matter", `X-Matrix sig="c2ln",key="ed25519:1",destination="us.ex",origin="a.ex"`, plain},
		{"several spaces after the scheme", `X-Matrix   origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`, plain},
		{"spaces and tabs around commas", "X-Matrix origin=\"a.ex\" \t,\t destination=\"us.ex\" ,key=\"ed25519:1\",\tsig=\"c2ln\"", plain},
		{"bad white space around the equals sign", "X-Matrix origin =\"a.ex\",destination= \"us.ex\",key\t=\t\"ed25519:1\",sig = c2ln", plain},
		{"unquoted values with colons", `X-Matrix origin=a.ex,destination=us.ex,key=ed25519:1,sig=c2ln`, plain},
		{"an unquoted server name with a port", `X-Matrix origin=a.ex:8448,destination=us.ex,key=ed25519:1,sig=c2ln`, with(func(a *xmatrix.Auth) { a.Origin = "a.ex:8448" })},
		{"an unquoted signature with slash, plus and padding", `X-Matrix origin=a.ex,destination=us.ex,key=ed25519:1,sig=a/+A==`, with(func(a *xmatrix.Auth) { a.Sig = "a/+A==" })},
		{"backslash escapes", `X-Matrix origin="a\.ex",destination="\u\s.ex",key="ed25519\:1",sig="c2ln"`, plain},
		{"an escaped quote and an escaped backslash", `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:\"\\",sig="c2ln"`, with(func(a *xmatrix.Auth) { a.Key = `ed25519:"\` })},
		{"a comma in quotes", `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:1,2",sig="c2ln"`, with(func(a *xmatrix.Auth) { a.Key = "ed25519:1,2" })},
		{"unknown parameters are ignored, whatever they hold", `X-Matrix foo="x,origin=evil.ex",origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln",bar=b`, plain},
		{"a repeated unknown parameter", `X-Matrix foo="",foo="",origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`, plain},
		{"a trailing comma", `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln",`, plain},
		{"empty list elements", `X-Matrix ,, origin="a.ex",,destination="us.ex", ,key="ed25519:1",sig="c2ln" , ,`, plain},
		{"white space around the header", " X-Matrix origin=\"a.ex\",destination=\"us.ex\",key=\"ed25519:1\",sig=\"c2ln\"\t", plain},
		{"the parameter signature stands for sig", `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:1",signature="c2ln"`, plain},
		{"no destination", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln"`, noDestination},
		{"an IPv6 literal in quotes", `X-Matrix origin="[2001:db8::1]:8448",destination="us.ex",key="ed25519:1",sig="c2ln"`, with(func(a *xmatrix.Auth) { a.Origin = "[2001:db8::1]:8448" })},
		{"a key of another algorithm", `X-Matrix origin="a.ex",destination="us.ex",key="ed448:x/y.z",sig="c2ln"`, with(func(a *xmatrix.Auth) { a.Key = "ed448:x/y.z" })},
		{"a header of 4096 bytes", pad(4096), plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := xmatrix.Parse(c.header)
			if err != nil || got != c.want {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", c.header, got, err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, header string }{
		{"nothing", ``},
		{"another scheme", `Bearer abc`},
		{"a scheme that only starts like ours", `X-Matrix2 origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`},
		{"the scheme alone", `X-Matrix`},
		{"the scheme and a space", `X-Matrix `},
		{"a tab after the scheme", "X-Matrix\torigin=\"a.ex\",key=\"ed25519:1\",sig=\"c2ln\""},
		{"a comma after the scheme", `X-Matrix,origin="a.ex",key="ed25519:1",sig="c2ln"`},
		{"no comma between parameters", `X-Matrix origin="a.ex" key="ed25519:1",sig="c2ln"`},
		{"no comma after a quoted string", `X-Matrix origin="a.ex"key="ed25519:1",sig="c2ln"`},
		{"a repeated origin", `X-Matrix origin="a.ex",origin="a.ex",key="ed25519:1",sig="c2ln"`},
		{"a repeated origin in another case", `X-Matrix origin="a.ex",Origin="evil.ex",key="ed25519:1",sig="c2ln"`},
		{"a repeated sig", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln",sig="c2ln"`},
		{"sig and signature", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln",signature="c2ln"`},
		{"sig and an empty signature", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln",signature=""`},
		{"an unterminated quote", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln`},
		{"a quote ended by an escape", `X-Matrix origin="a.ex",key="ed25519:1",sig="c2ln\`},
		{"a quote in an unquoted value", `X-Matrix origin=a.ex",key="ed25519:1",sig="c2ln"`},
		{"an empty unquoted value", `X-Matrix origin=,key="ed25519:1",sig="c2ln"`},
		{"padding alone", `X-Matrix origin=a.ex,key=ed25519:1,sig==`},
		{"padding inside", `X-Matrix origin=a.ex,key=ed25519:1,sig=c2=ln`},
		{"a parameter without a value", `X-Matrix origin="a.ex",key="ed25519:1",sig`},
		{"a value without a name", `X-Matrix ="a.ex",key="ed25519:1",sig="c2ln"`},
		{"a control character", "X-Matrix origin=\"a.ex\",key=\"ed25519:\x01\",sig=\"c2ln\""},
		{"an escaped control character", "X-Matrix origin=\"a.ex\",key=\"ed25519:\\\x7f\",sig=\"c2ln\""},
		{"no origin", `X-Matrix key="ed25519:1",sig="c2ln"`},
		{"no key", `X-Matrix origin="a.ex",sig="c2ln"`},
		{"no signature", `X-Matrix origin="a.ex",key="ed25519:1"`},
		{"an origin that is no server name", `X-Matrix origin="a_b",key="ed25519:1",sig="c2ln"`},
		{"an origin with half a bracket", `X-Matrix origin="[::1",key="ed25519:1",sig="c2ln"`},
		{"an origin of 300 characters", `X-Matrix origin="` + strings.Repeat("a", 300) + `",key="ed25519:1",sig="c2ln"`},
		{"an empty destination", `X-Matrix origin="a.ex",destination="",key="ed25519:1",sig="c2ln"`},
		{"a destination that is no server name", `X-Matrix origin="a.ex",destination="us.ex/",key="ed25519:1",sig="c2ln"`},
		{"a key of 256 bytes", `X-Matrix origin="a.ex",key="` + strings.Repeat("k", 256) + `",sig="c2ln"`},
		{"a signature of 129 bytes", `X-Matrix origin="a.ex",key="ed25519:1",sig="` + strings.Repeat("s", 129) + `"`},
		{"a header of 4097 bytes", pad(4097)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := xmatrix.Parse(c.header)
			if !errors.Is(err, fedinvite.ErrUnauthorized) {
				t.Fatalf("Parse(%q) = %+v, %v, want ErrUnauthorized", c.header, got, err)
			}
			if got != (xmatrix.Auth{}) {
				t.Errorf("Parse returned %+v with its error", got)
			}
			if strings.Contains(err.Error(), "evil") || strings.Contains(err.Error(), "c2ln") {
				t.Errorf("the error shows the header: %v", err)
			}
		})
	}
}

// pad makes the plain header n bytes long.
func pad(n int) string {
	header := plain.String()
	return header + `,x="` + strings.Repeat("x", n-len(header)-len(`,x=""`)) + `"`
}

func TestStringIsWhatOldServersRead(t *testing.T) {
	const want = `X-Matrix origin="a.ex",destination="us.ex",key="ed25519:1",sig="c2ln"`
	if got := plain.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := (xmatrix.Auth{Origin: "a.ex", Key: `k"\`, Sig: "s"}).String(), `X-Matrix origin="a.ex",key="k\"\\",sig="s"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		plain.String(), pad(4096),
		`x-matrix ,ORIGIN = "a\.ex" , destination=us.ex:1,,foo="x,y",key=ed25519:a/b,signature=AA==,`,
		`X-Matrix origin="[::1]:8448",key="\"\\",sig="a/+A=="`,
		"X-Matrix origin=a.ex,key=\"\t\xff\",sig=c2ln", `X-Matrix origin="`, `X-Matrix `, `Bearer x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		a, err := xmatrix.Parse(header)
		if err != nil {
			if !errors.Is(err, fedinvite.ErrUnauthorized) || a != (xmatrix.Auth{}) {
				t.Fatalf("Parse(%q) = %+v, %v", header, a, err)
			}
			return
		}
		again, err := xmatrix.Parse(a.String())
		if err != nil || again != a {
			t.Fatalf("%q\nparses as %+v\nwhich is written as %q\nwhich parses as %+v, %v", header, a, a.String(), again, err)
		}
	})
}

package discovery

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What is read from .well-known is a server name, and what any reader of JSON finds.
func FuzzReadWellKnown(f *testing.F) {
	for _, body := range []string{
		`{"m.server":"b.ex:443"}`, `{"m\u002eserver":"b.ex"}`, `{"m.server":"[::1]:1","x":[1e9,null]}`, `{"m.server":"b.ex","m.server":"c.ex"}`,
		`{"m.server":"` + "\xff" + `"}`, `{"M.server":"b.ex"}`, `["b.ex"]`, "", "{", `{"m.server":1}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		name, err := readWellKnown(body)
		if err != nil {
			if name != "" {
				t.Errorf("%q with %v", name, err)
			}
			return
		}
		if _, err := fedinvite.ParseServerName(string(name)); err != nil {
			t.Error(err)
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil || members["m.server"] != string(name) {
			t.Errorf("%q, %v %v", name, members["m.server"], err)
		}
	})
}

func FuzzLifetime(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Add("max-age=600", "", "", "", "")
	f.Add(`private="x, max-age=1", max-age="600`, "no-cache", "0", "x", "-1")
	f.Add(`x="\`, `\",=,,`, "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "99999999999999999999")
	f.Fuzz(func(t *testing.T, control, control2, expires, date, age string) {
		h := http.Header{"Cache-Control": {control, control2}, "Date": {date}, "Age": {age}}
		if expires != "" {
			h.Set("Expires", expires)
		}
		got := lifetime(h, now)
		if got < minLifetime || maxLifetime < got {
			t.Error(got)
		}
		h.Del("Expires")
		h.Set("Age", "2147483648")
		if got := lifetime(h, now); got != minLifetime && got != defaultLifetime {
			t.Error("68 years old:", got)
		}
	})
}

// A name that says where the server is leads to one place that the pool has a key for.
func FuzzPlaceOf(f *testing.F) {
	for _, name := range []string{"a.ex", "A.ex.:00443", ".", "..", "a.ex:0", "[::FFFF:10.0.0.1]", "1.2.3.4:1", "1.2.3", "0x7f.1:1", "[::]:65535", "-:1", "xn--a:1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		server, err := fedinvite.ParseServerName(name)
		if err != nil {
			return
		}
		p, err := placeOf(server)
		if err != nil || p.kind == nameOnly {
			return
		}
		certName, target, ok := parsePoolKey(p.target.key)
		if !ok || certName != p.certName || target.Host != p.target.Host || target.Port != p.target.Port || p.certName != p.target.Host {
			t.Errorf("%+v: %q %+v %v", p, certName, target, ok)
		}
		if addr, err := netip.ParseAddr(p.certName); (err == nil) != (p.kind == literal) || err == nil && addr.String() != p.certName {
			t.Errorf("%+v", p)
		}
	})
}

// Whatever SRV records say, what is kept of them is names of hosts with a port.
func FuzzService(f *testing.F) {
	f.Add("b.ex.", "c.ex", uint16(1), uint16(0))
	f.Add(".", "127.0.0.1.", uint16(0), uint16(1))
	f.Add("b_c.ex.", "B.ex..", uint16(8448), uint16(65535))
	f.Fuzz(func(t *testing.T, first, second string, port, weight uint16) {
		s := newService("a.ex", fedRecords, []*net.SRV{{Target: first, Port: port, Weight: weight}, {Target: second, Port: port}})
		if (len(s.records) == 0) != (s.err != nil) {
			t.Errorf("%+v", s)
		}
		if s.err != nil {
			return
		}
		for _, target := range s.targets(func(n uint64) uint64 { return n - 1 }) {
			certName, back, ok := parsePoolKey(target.poolKey("a.ex"))
			if _, name := absoluteName(target.Host); !name || !ok || certName != "a.ex" || back.Host != target.Host || back.Port != port {
				t.Errorf("%+v: %q %+v %v", target, certName, back, ok)
			}
			if _, err := netip.ParseAddr(target.Host); err == nil {
				t.Errorf("%+v is an address", target)
			}
		}
	})
}

// The owner of a domain can have any number of names in it, each with long records.
func TestWhatIsKeptOfRecordsIsBounded(t *testing.T) {
	name := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "ex"
	var found []*net.SRV
	for n := range uint16(1000) {
		found = append(found, &net.SRV{Target: name + ".", Port: n + 1})
	}
	s := newService(name, fedRecords, found)
	if len(s.records) != maxRecords || cap(s.records) != maxRecords || s.only != (Target{}) {
		t.Errorf("%d records in room for %d, and %+v", len(s.records), cap(s.records), s.only)
	}
	for _, target := range s.targets(func(uint64) uint64 { return 0 }) {
		if target.key != "" {
			t.Error("a key is kept")
		}
	}
}

package discovery_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// dialDNS answers with one list after the other, the last one again and again, and
// notes what it was asked.
type dialDNS struct {
	answers [][]netip.Addr
	err     error
	mu      sync.Mutex
	asked   []string
}

func dnsOf(answers ...string) *dialDNS {
	dns := new(dialDNS)
	for _, answer := range answers {
		dns.answers = append(dns.answers, addrsOf(answer))
	}
	return dns
}

func addrsOf(list string) []netip.Addr {
	var addrs []netip.Addr
	for text := range strings.FieldsSeq(list) {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

func prefixesOf(list string) []netip.Prefix {
	var prefixes []netip.Prefix
	for text := range strings.FieldsSeq(list) {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

func (d *dialDNS) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, network+" "+host)
	if d.err != nil || len(d.answers) == 0 {
		return nil, d.err
	}
	answer := d.answers[0]
	if len(d.answers) > 1 {
		d.answers = d.answers[1:]
	}
	return answer, nil
}

func (d *dialDNS) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("not asked for")
}

func TestPermits(t *testing.T) {
	for _, c := range []struct{ name, allow, deny, permitted, refused string }{
		{"zero: public addresses only", "", "",
			"8.8.8.8 ::ffff:8.8.8.8 2606:4700::1", "127.0.0.1 ::1 ::ffff:10.0.0.1 64:ff9b::808:808 2002:808:808::1 ::"},
		{"Deny beats Allow beats Public", "10.0.0.0/8 2001:db8::/32", "10.1.0.0/16 8.8.8.0/24 2606:4700::/32",
			"10.0.0.1 10.2.0.0 ::ffff:10.0.0.1 2001:db8::1 8.8.4.4", "10.1.0.0 10.1.255.255 ::ffff:10.1.0.1 8.8.8.8 ::ffff:8.8.8.8 2606:4700::1 127.0.0.1"},
		{"prefixes in the mapped form", "::ffff:10.0.0.0/104", "::ffff:10.1.0.0/112 ::ffff:8.8.8.8/128",
			"10.0.0.1 ::ffff:10.0.0.1 8.8.8.9", "10.1.0.1 ::ffff:10.1.0.1 8.8.8.8 ::ffff:8.8.8.8 ::10.0.0.1"},
		{"an IPv6 prefix is not of IPv4 addresses", "::/0", "::/1",
			"8.8.8.8 ::ffff:8.8.8.8 fd00::1", "10.0.0.1 ::ffff:10.0.0.1 127.0.0.1 ::1 2606:4700::1"},
		{"zones are refused even if allowed", "fe80::/10 ::/0 10.0.0.0/8", "", "fe80::1 fd00::1", "fe80::1%eth0 2606:4700::1%1 ::ffff:10.0.0.1%x"},
		{"an allowed NAT64 address needs a permitted one inside", "64:ff9b::/96", "9.9.9.9/32",
			"64:ff9b::808:808", "64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b::909:909 64:ff9b:1::808:808"},
		{"which may be an exception itself", "64:ff9b::/96 10.0.0.0/8", "10.1.0.0/16",
			"64:ff9b::a00:1", "64:ff9b::a01:1 64:ff9b::7f00:1"},
		{"6to4", "2002::/16", "", "2002:808:808::1", "2002:7f00:1::1 2002:a00:1:: 2002:c0a8:101::808:808"},
		{"Teredo", "2001::/32", "", "2001:0:4136:e378:8000:63bf:f7f7:f7f7", "2001:0:4136:e378:8000:63bf:80ff:fffe 2001:0:808:808::"},
		{"IPv4-compatible", "::/96", "", "::8.8.8.8 :: ::1", "::127.0.0.1 ::10.0.0.1 ::2"},
		{"NAT64 for local use, prefix of 96 bits", "64:ff9b:1:fffe::/96", "", "64:ff9b:1:fffe::808:808", "64:ff9b:1:fffe::7f00:1 64:ff9b:1::808:808"},
		{"NAT64 for local use, prefix of other length", "64:ff9b:1::/48 64:ff9b:1:7f00::/56", "", "", "64:ff9b:1::808:808 64:ff9b:1:7f00:0:100:808:808"},
		{"a mapped prefix in Deny that goes beyond the mapped addresses is of all of them", "10.0.0.0/8 fd00::/8", "::ffff:0:0/90",
			"2606:4700::1 fd00::1", "8.8.8.8 ::ffff:8.8.8.8 10.0.0.1"},
		{"and in Allow of none", "::ffff:0:0/90", "", "8.8.8.8", "10.0.0.1 ::ffff:10.0.0.1"},
		{"loopback for tests", "127.0.0.0/8 ::1/128", "", "127.0.0.1 127.255.255.255 ::ffff:127.0.0.1 ::1", "0.0.0.0 :: ::2 10.0.0.1 ::127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &discovery.Dialer{Allow: prefixesOf(c.allow), Deny: prefixesOf(c.deny)}
			for _, addr := range addrsOf(c.permitted) {
				if !d.Permits(addr) {
					t.Errorf("%s is refused", addr)
				}
			}
			for _, addr := range append(addrsOf(c.refused), netip.Addr{}) {
				if d.Permits(addr) {
					t.Errorf("%s is permitted", addr)
				}
			}
		})
	}
}

// What ParsePrefix returns with its error, for example.
func TestInvalidPrefixesAllowNothingAndDenyEverything(t *testing.T) {
	for _, p := range []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33), netip.PrefixFrom(netip.Addr{}, 8)} {
		list := append(discovery.Loopback(), p)
		for _, addr := range addrsOf("8.8.8.8 ::ffff:8.8.8.8 2606:4700::1 10.0.0.1 127.0.0.1 ::1") {
			if d := (&discovery.Dialer{Allow: discovery.Loopback(), Deny: list[len(list)-1:]}); d.Permits(addr) {
				t.Errorf("%s is permitted although %s is denied", addr, p)
			}
			if d := (&discovery.Dialer{Allow: list}); d.Permits(addr) != (discovery.Public(addr) || addr.IsLoopback()) {
				t.Errorf("%s is judged in another way because %s is allowed", addr, p)
			}
		}
	}
}

func TestLoopbackIsAllOfIt(t *testing.T) {
	if diff := cmp.Diff([]string{"127.0.0.0/8", "::1/128"}, strings.Fields(strings.Trim(fmt.Sprint(discovery.Loopback()), "[]"))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPermitsDoesNotAllocate(t *testing.T) {
	d := &discovery.Dialer{Allow: prefixesOf("64:ff9b::/96 ::ffff:10.0.0.0/104"), Deny: prefixesOf("::ffff:10.1.0.0/112")}
	addrs := addrsOf("8.8.8.8 ::ffff:10.0.0.1 64:ff9b::808:808 2606:4700::1 fe80::1%eth0")
	if n := testing.AllocsPerRun(100, func() {
		for _, addr := range addrs {
			d.Permits(addr)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPermits(b *testing.B) {
	for _, text := range []string{"8.8.8.8", "2606:4700:4700::1111"} {
		b.Run(text, func(b *testing.B) {
			d, addr := new(discovery.Dialer), netip.MustParseAddr(text)
			b.ReportAllocs()
			for b.Loop() {
				if !d.Permits(addr) {
					b.Fatal(text)
				}
			}
		})
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct{ name, host, answer, asked, want string }{
		{"names are absolute", "a.example", "8.8.8.8", "ip a.example.", "8.8.8.8"},
		{"so is one with a dot", "a.example.", "8.8.8.8", "ip a.example.", "8.8.8.8"},
		{"a name of one label", "intranet", "8.8.8.8", "ip intranet.", "8.8.8.8"},
		{"upper case", "A.EXAMPLE", "8.8.8.8", "ip a.example.", "8.8.8.8"},
		{"digits and underscores", "_x.1e100.n3t", "8.8.8.8", "ip _x.1e100.n3t.", "8.8.8.8"},
		{"a label that begins like a number", "a.0xg", "8.8.8.8", "ip a.0xg.", "8.8.8.8"},
		{"literals never go to the DNS", "8.8.4.4", "", "", "8.8.4.4"},
		{"literals of IPv6", "2606:4700::1", "", "", "2606:4700::1"},
		{"mapped literals", "::ffff:8.8.8.8", "", "", "8.8.8.8"},
		{"families in turns", "a.ex", "2606:4700::1 2606:4700::2 2606:4700::3 8.8.8.8 8.8.4.4", "ip a.ex.",
			"2606:4700::1 8.8.8.8 2606:4700::2 8.8.4.4 2606:4700::3"},
		{"beginning with the first", "a.ex", "8.8.8.8 8.8.4.4 1.1.1.1 2606:4700::1", "ip a.ex.", "8.8.8.8 2606:4700::1 8.8.4.4 1.1.1.1"},
		{"the same address twice", "a.ex", "::ffff:8.8.8.8 8.8.8.8 8.8.4.4 8.8.8.8", "ip a.ex.", "8.8.8.8 8.8.4.4"},
		{"the rest of a partly forbidden answer", "a.ex", "10.0.0.1 8.8.8.8 ::1 fe80::1%2", "ip a.ex.", "8.8.8.8"},
		{"16 addresses at most", "a.ex", many("8.8.8.%d", 20), "ip a.ex.", many("8.8.8.%d", 16)},
		{"of those that may be used", "a.ex", many("10.0.0.%d", 20) + " 8.8.8.8", "ip a.ex.", "8.8.8.8"},
		{"of the first 256", "a.ex", many("10.0.0.%d", 254) + " 8.8.8.8 8.8.4.4 1.1.1.1", "ip a.ex.", "8.8.8.8 8.8.4.4"},
		{"longest name", longName(253), "8.8.8.8", "ip " + longName(253) + ".", "8.8.8.8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dns := dnsOf(c.answer)
			got, err := (&discovery.Dialer{DNS: dns}).Lookup(t.Context(), c.host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(c.want), strings.Fields(strings.Trim(fmt.Sprint(got), "[]"))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if got := strings.Join(dns.asked, ", "); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
		})
	}
}

func many(format string, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(format, i+1))
	}
	return strings.Join(list, " ")
}

// longName returns a name of n bytes.
func longName(n int) string {
	return strings.Repeat("a", n%64) + strings.Repeat("."+strings.Repeat("b", 63), n/64)
}

func TestLookupOfLocalhostAsksNobody(t *testing.T) {
	for _, host := range []string{"localhost", "LOCALHOST.", "a.localhost", "x.Y.LocalHost."} {
		dns := dnsOf("8.8.8.8")
		var refused *discovery.AddressError
		if addrs, err := (&discovery.Dialer{DNS: dns}).Lookup(t.Context(), host); !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", host, addrs, err)
		}
		got, err := (&discovery.Dialer{DNS: dns, Allow: discovery.Loopback()}).Lookup(t.Context(), host)
		if err != nil || fmt.Sprint(got) != "[::1 127.0.0.1]" {
			t.Errorf("%s: %v, %v", host, got, err)
		}
		if len(dns.asked) > 0 {
			t.Errorf("asked %q", dns.asked)
		}
	}
}

// What is neither a name nor an address, and what inet_aton takes for an address.
var noHosts = []string{
	"", ".", "..", "a..ex", ".a.ex", "a.ex..", "a ex", "a.ex\x00", "\x00", "127.0.0.1\x00.a.ex", "a.ex\n", "a/b", "a:b", "u@a.ex", "%61.ex",
	"[::1]", "[127.0.0.1]", "[a.ex]", "[", "::1]", "127.0.0.1.", "::1.", "*", "bücher.ex", "１２７.0.0.1", "127。0。0。1", "\u212a.ex", "a.ex\xff",
	"0", "1", "127.1", "127.0.1", "2130706433", "2130706433.", "0x7f.1", "0X7F000001", "0x7f000001.", "0x", "0177.0.0.1", "017700000001",
	"127.0.0.0x1", "1.2.3.4.5", "1.2.3.256", "999.1.1.1", "127.0.0.01", "a.b.1", "a.0x7f", "a.010",
	longName(254), longName(300), strings.Repeat("a", 64) + ".ex",
}

func TestLookupRefusesWhatIsNoHost(t *testing.T) {
	for _, host := range noHosts {
		dns := dnsOf("8.8.8.8")
		d := &discovery.Dialer{DNS: dns, Allow: prefixesOf("0.0.0.0/0 ::/0")}
		addrs, err := d.Lookup(t.Context(), host)
		var refused *discovery.AddressError
		if !errors.As(err, &refused) || refused.Host != host || refused.Addr.IsValid() {
			t.Errorf("%q: %v, %v", host, addrs, err)
		}
		if len(dns.asked) > 0 {
			t.Errorf("%q: the DNS was asked %q", host, dns.asked)
		}
	}
}

// The same hosts with a system's resolver whose DNS would say that all of them exist.
func TestSystemsResolverTakesNothingForAnAddress(t *testing.T) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the DNS is asked")
		return nil, errors.New("no network")
	}}
	d := &discovery.Dialer{DNS: resolver, Allow: discovery.Loopback()}
	for _, host := range noHosts {
		if addrs, err := d.Lookup(t.Context(), host); err == nil {
			t.Errorf("%q: %s", host, addrs)
		}
	}
}

func TestLookupErrors(t *testing.T) {
	outage := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	if _, err := (&discovery.Dialer{DNS: &dialDNS{err: outage}}).Lookup(t.Context(), "a.ex"); !errors.Is(err, outage) {
		t.Errorf("got %v, want what the DNS said", err)
	}
	var none *net.DNSError
	if _, err := (&discovery.Dialer{DNS: dnsOf()}).Lookup(t.Context(), "a.ex"); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("no addresses: %v", err)
	}
	var refused *discovery.AddressError
	_, err := (&discovery.Dialer{DNS: dnsOf("192.168.0.1 ::1")}).Lookup(t.Context(), "a.ex")
	if !errors.As(err, &refused) || refused.Host != "a.ex" || refused.Addr != netip.MustParseAddr("192.168.0.1") {
		t.Errorf("got %v, want the first refused address", err)
	}
	_, err = (&discovery.Dialer{DNS: dnsOf()}).Lookup(t.Context(), "::1%eth0")
	if !errors.As(err, &refused) || refused.Addr.Zone() != "eth0" {
		t.Errorf("zone: %v", err)
	}
}

// The caller's trace is told of its own connections, and not of those to the DNS.
func TestTraceIsToldOfTheLookupAndNotOfItsConnections(t *testing.T) {
	c, dns := newCounter(t), dnstest.New(t)
	dns.Addr("a.ex", "127.0.0.1")
	d := &discovery.Dialer{DNS: dns.Resolver(), Allow: discovery.Loopback()}
	for name, forget := range map[string]func(*httptrace.ClientTrace){
		"all":              func(*httptrace.ClientTrace) {},
		"connections only": func(trace *httptrace.ClientTrace) { trace.DNSStart, trace.DNSDone = nil, nil },
		"look-ups only":    func(trace *httptrace.ClientTrace) { trace.ConnectStart, trace.ConnectDone = nil, nil },
	} {
		var told, want []string
		trace := &httptrace.ClientTrace{
			DNSStart:     func(i httptrace.DNSStartInfo) { told = append(told, "look up "+i.Host) },
			DNSDone:      func(httptrace.DNSDoneInfo) { told = append(told, "looked up") },
			ConnectStart: func(network, addr string) { told = append(told, "connect "+network+" "+addr) },
			ConnectDone:  func(network, addr string, err error) { told = append(told, "connected", fmt.Sprint(err)) },
		}
		if forget(trace); trace.DNSStart != nil {
			want = append(want, "look up a.ex.", "looked up")
		}
		if trace.ConnectStart != nil {
			want = append(want, "connect tcp4 "+c.at("127.0.0.1"), "connected", "<nil>")
		}
		if err := reach(httptrace.WithClientTrace(t.Context(), trace), d, "tcp", c.at("a.ex")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestLookingUpIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if _, err := (&discovery.Dialer{DNS: silentDNS{}}).DialContext(t.Context(), "tcp", "a.ex:443"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("after %s", d)
		}
	})
}

// silentDNS never answers.
type silentDNS struct{ discovery.DNS }

func (silentDNS) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// counter counts the connections to a loopback port.
type counter struct {
	net.Listener
	n atomic.Int32
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{Listener: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.n.Add(1)
			_, _ = io.WriteString(conn, "!") // tells the other end that it is counted
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return c
}

// at returns host with the port of c.
func (c *counter) at(host string) string {
	_, port, _ := net.SplitHostPort(c.Addr().String())
	return net.JoinHostPort(host, port)
}

// reach connects and waits for the connection to be counted.
func reach(ctx context.Context, d *discovery.Dialer, network, address string) error {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Read(make([]byte, 1))
	return err
}

var forbiddenForms = strings.Fields(`
	127.0.0.1 127.1.2.3 0.0.0.0 ::ffff:127.0.0.1 ::ffff:0.0.0.0 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1
	2002:7f00:1:: ::127.0.0.1 :: ::1 ::1%lo 10.0.0.1 169.254.169.254 192.168.1.1 172.16.0.1 100.64.0.1 255.255.255.255
	224.0.0.1 fd00::1 fe80::1 fe80::1%lo fec0::1 ff02::1`)

func TestPlumbing55DialerMakesNoConnectionToForbiddenAddresses(t *testing.T) {
	c := newCounter(t)
	var plain *discovery.Dialer
	for _, addr := range forbiddenForms {
		for name, try := range map[string]func() error{
			"literal":     func() error { return reach(t.Context(), plain, "tcp", c.at(addr)) },
			"from a name": func() error { return reach(t.Context(), &discovery.Dialer{DNS: dnsOf(addr)}, "tcp", c.at("a.ex")) },
			"judged before Dial": func() error {
				d := &discovery.Dialer{DNS: dnsOf(addr), Dial: func(_ context.Context, _, address string) (net.Conn, error) {
					t.Errorf("Dial is given %s", address)
					return nil, errors.New("not reached")
				}}
				return reach(t.Context(), d, "tcp", c.at("a.ex"))
			},
			"denied": func() error {
				d := &discovery.Dialer{DNS: dnsOf(addr), Allow: prefixesOf("0.0.0.0/0 ::/0"), Deny: prefixesOf("::ffff:0:0/96 ::/0")}
				return reach(t.Context(), d, "tcp", c.at("a.ex"))
			},
		} {
			var refused *discovery.AddressError
			if err := try(); !errors.As(err, &refused) || !errors.Is(err, discovery.ErrAddress) {
				t.Errorf("%s, %s: %v", addr, name, err)
			}
		}
	}
	for _, host := range noHosts {
		if err := reach(t.Context(), &discovery.Dialer{DNS: dnsOf("127.0.0.1")}, "tcp", c.at(host)); !errors.Is(err, discovery.ErrAddress) {
			t.Errorf("%q: %v", host, err)
		}
	}
	if n := c.n.Load(); n != 0 {
		t.Fatalf("%d connections", n)
	}
	// The listener would have been reached.
	allowed := &discovery.Dialer{Allow: discovery.Loopback(), DNS: dnsOf("::ffff:127.0.0.1")}
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "a.ex", "localhost"} {
		if err := reach(t.Context(), allowed, "tcp", c.at(host)); err != nil {
			t.Errorf("%s, if it is allowed: %v", host, err)
		}
	}
	if n := c.n.Load(); n != 4 {
		t.Errorf("%d connections counted, want 4", n)
	}
}

func TestPlumbing55RedirectToLoopbackIsRefused(t *testing.T) {
	c := newCounter(t)
	redirect := http.RedirectHandler("https://"+c.at("127.0.0.1")+"/x", http.StatusFound)
	client := http.Client{Transport: transportTo(t, redirect.ServeHTTP)}
	_, err := client.Get("https://example.com/")
	if !errors.Is(err, discovery.ErrAddress) || c.n.Load() != 0 {
		t.Errorf("%v, %d connections", err, c.n.Load())
	}
}

func TestPlumbing56RebindingIsRefused(t *testing.T) {
	c := newCounter(t)
	dns := dnsOf("8.8.8.8", "127.0.0.1")
	d := &discovery.Dialer{DNS: dns}
	if _, err := d.Lookup(t.Context(), "a.ex"); err != nil {
		t.Fatal(err)
	}
	if err := reach(t.Context(), d, "tcp", c.at("a.ex")); !errors.Is(err, discovery.ErrAddress) {
		t.Errorf("the second answer is used: %v", err)
	}
	// And what is judged is what is connected to: there is no second question.
	dns = dnsOf("8.8.8.8", "127.0.0.1")
	var dialled []string
	d = &discovery.Dialer{DNS: dns, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, network+" "+address)
		return nil, errors.New("unreachable")
	}}
	if err := reach(t.Context(), d, "tcp", "a.ex:8448"); err == nil {
		t.Error("connected")
	}
	if diff := cmp.Diff([]string{"tcp4 8.8.8.8:8448"}, dialled); diff != "" {
		t.Errorf("dialled: -want +got\n%s", diff)
	}
	if len(dns.asked) != 1 || c.n.Load() != 0 {
		t.Errorf("asked %q, %d connections", dns.asked, c.n.Load())
	}
}

func TestDialContextRefusesWhatIsNoAddress(t *testing.T) {
	d := &discovery.Dialer{DNS: dnsOf("8.8.8.8"), Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("dialled %s %s", network, address)
		return nil, errors.New("not reached")
	}}
	for _, address := range []string{
		"", ":8448", "a.ex", "a.ex:", "a.ex:0", "a.ex:https", "a.ex:-1", "a.ex:+1", "a.ex:65536", "a.ex:1:2", "::1:443",
		"[a.ex:443", "[8.8.8.8%1]:443", "8.8.8.8%1:443", "a.ex:443 ", "a.ex:０", "a.ex:0x50", "[]:443", "[::ffff:8.8.8.8%1]:1",
	} {
		if _, err := d.DialContext(t.Context(), "tcp", address); !errors.Is(err, discovery.ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, network := range []string{"", "udp", "ip", "unix", "tcp5", "TCP"} {
		if _, err := d.DialContext(t.Context(), network, "8.8.8.8:443"); !errors.As(err, new(net.UnknownNetworkError)) {
			t.Errorf("%q: %v", network, err)
		}
	}
}

func TestDialContextKeepsToTheNetwork(t *testing.T) {
	const answer = "8.8.8.8 2606:4700::1 ::ffff:8.8.4.4"
	for _, c := range []struct{ network, host, asked, want string }{
		{"tcp", "a.ex", "ip a.ex.", "tcp4 8.8.8.8:443, tcp6 [2606:4700::1]:443, tcp4 8.8.4.4:443"},
		{"tcp4", "a.ex", "ip4 a.ex.", "tcp4 8.8.8.8:443, tcp4 8.8.4.4:443"},
		{"tcp6", "a.ex", "ip6 a.ex.", "tcp6 [2606:4700::1]:443"},
		{"tcp4", "2606:4700::1", "", ""},
		{"tcp6", "8.8.8.8", "", ""},
		{"tcp6", "::ffff:8.8.8.8", "", ""},
		{"tcp4", "::ffff:8.8.8.8", "", "tcp4 8.8.8.8:443"},
	} {
		dns := dnsOf(answer)
		var dialled []string
		d := &discovery.Dialer{DNS: dns, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, network+" "+address) // one after the other, because each fails at once
			return nil, errors.New("unreachable")
		}}
		if _, err := d.DialContext(t.Context(), c.network, net.JoinHostPort(c.host, "443")); err == nil {
			t.Error("connected")
		}
		if got := strings.Join(dialled, ", "); got != c.want {
			t.Errorf("%s to %s: dialled %q, want %q", c.network, c.host, got, c.want)
		}
		if got := strings.Join(dns.asked, ", "); got != c.asked {
			t.Errorf("%s to %s: asked %q, want %q", c.network, c.host, got, c.asked)
		}
	}
}

// A raceTrack says how each address behaves, and keeps the time.
type raceTrack struct {
	begin time.Time
	hosts map[string]host
	mu    sync.Mutex
	log   []string
	open  int // connections that were made and not closed
}

type host struct {
	after time.Duration
	fails bool
	deaf  bool // does not hear the end of the context
}

func (r *raceTrack) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf("%s %s", time.Since(r.begin), fmt.Sprintf(format, args...)))
}

func (r *raceTrack) dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, _ := strings.Cut(address, ":")
	r.note("dial %s", name)
	h, ok := r.hosts[name]
	end := ctx.Done()
	if h.deaf {
		end = nil
	}
	var answer <-chan time.Time
	if ok {
		answer = time.After(h.after)
	}
	select {
	case <-answer:
	case <-end:
		r.note("leave %s", name)
		return nil, ctx.Err()
	}
	if h.fails {
		return nil, errors.New(name + " is down")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return &trackedConn{track: r}, nil
}

type trackedConn struct {
	net.Conn
	track *raceTrack
}

func (c *trackedConn) Close() error {
	c.track.note("close")
	c.track.mu.Lock()
	defer c.track.mu.Unlock()
	c.track.open--
	return nil
}

const second = time.Second

func TestAttemptsRace(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs string
		hosts map[string]host
		until time.Duration // the end of the caller's context; 0: none
		err   string        // "" if there is a connection
		took  time.Duration
		log   []string
	}{
		{"the first answers in time", "1.1.1.1 2.2.2.2", map[string]host{"1.1.1.1": {after: 299 * time.Millisecond}}, 0, "", 299 * time.Millisecond,
			[]string{"0s dial 1.1.1.1"}},
		{"the next one begins 300 ms later", "1.1.1.1 2.2.2.2 3.3.3.3", map[string]host{"2.2.2.2": {after: second / 10}}, 0, "", second * 4 / 10,
			[]string{"0s dial 1.1.1.1", "300ms dial 2.2.2.2", "400ms leave 1.1.1.1"}},
		{"the first may still win", "1.1.1.1 2.2.2.2", map[string]host{"1.1.1.1": {after: second / 2}}, 0, "", second / 2,
			[]string{"0s dial 1.1.1.1", "300ms dial 2.2.2.2", "500ms leave 2.2.2.2"}},
		{"a loser that connects all the same is closed", "1.1.1.1 2.2.2.2",
			map[string]host{"1.1.1.1": {after: second, deaf: true}, "2.2.2.2": {}}, 0, "", 3 * second / 10,
			[]string{"0s dial 1.1.1.1", "300ms dial 2.2.2.2", "1s close"}},
		{"the next one begins at once when one fails", "1.1.1.1 2.2.2.2 3.3.3.3",
			map[string]host{"1.1.1.1": {fails: true}, "2.2.2.2": {after: second / 10, fails: true}, "3.3.3.3": {}}, 0, "", second / 10,
			[]string{"0s dial 1.1.1.1", "0s dial 2.2.2.2", "100ms dial 3.3.3.3"}},
		{"and has its own 300 ms", "1.1.1.1 2.2.2.2 3.3.3.3",
			map[string]host{"1.1.1.1": {after: second / 5, fails: true}, "2.2.2.2": {after: second}, "3.3.3.3": {}}, 0, "", second / 2,
			[]string{"0s dial 1.1.1.1", "200ms dial 2.2.2.2", "500ms dial 3.3.3.3", "500ms leave 2.2.2.2"}},
		{"all fail", "1.1.1.1 2.2.2.2", map[string]host{"1.1.1.1": {fails: true}, "2.2.2.2": {after: second, fails: true}}, 0,
			"1.1.1.1 is down; 2.2.2.2 is down", second, []string{"0s dial 1.1.1.1", "0s dial 2.2.2.2"}},
		{"each attempt has 10 s", "1.1.1.1 2.2.2.2", nil, 0, "context deadline exceeded; context deadline exceeded", 10*second + 3*second/10,
			[]string{"0s dial 1.1.1.1", "300ms dial 2.2.2.2", "10s leave 1.1.1.1", "10.3s leave 2.2.2.2"}},
		{"four at a time at most, and the next one when one has failed", "1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4 5.5.5.5 6.6.6.6",
			map[string]host{"3.3.3.3": {after: 2 * second, fails: true}, "5.5.5.5": {after: second, fails: true}}, 0,
			"3.3.3.3 is down; 5.5.5.5 is down" + strings.Repeat("; context deadline exceeded", 4), 136 * second / 10,
			[]string{"0s dial 1.1.1.1", "300ms dial 2.2.2.2", "600ms dial 3.3.3.3", "900ms dial 4.4.4.4", "2.6s dial 5.5.5.5", "3.6s dial 6.6.6.6",
				"10s leave 1.1.1.1", "10.3s leave 2.2.2.2", "10.9s leave 4.4.4.4", "13.6s leave 6.6.6.6"}},
		{"the caller leaves", "1.1.1.1 2.2.2.2", map[string]host{"1.1.1.1": {fails: true}}, second, "1.1.1.1 is down; context deadline exceeded", second,
			[]string{"0s dial 1.1.1.1", "0s dial 2.2.2.2", "1s leave 2.2.2.2"}},
		{"a connection made after that is closed", "1.1.1.1", map[string]host{"1.1.1.1": {after: 2 * second, deaf: true}}, second,
			"context deadline exceeded", second, []string{"0s dial 1.1.1.1", "2s close"}},
		{"the caller has left already", "1.1.1.1", map[string]host{"1.1.1.1": {}}, -second, "context deadline exceeded", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				track := &raceTrack{begin: time.Now(), hosts: c.hosts}
				d := &discovery.Dialer{DNS: dnsOf(c.addrs), Dial: track.dial}
				ctx := t.Context()
				if c.until != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.until)
					defer cancel()
				}
				conn, err := d.DialContext(ctx, "tcp", "a.ex:443")
				took := time.Since(track.begin)
				time.Sleep(time.Minute) // of the bubble's clock: for the losers
				track.mu.Lock()
				defer track.mu.Unlock()
				if took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				if diff := cmp.Diff(c.log, track.log); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				open := 0
				switch {
				case c.err == "" && (err != nil || conn == nil):
					t.Errorf("error %v", err)
				case c.err == "":
					open = 1
				case err == nil || err.Error() != c.err || conn != nil:
					t.Errorf("error %v, want %s", err, c.err)
				case strings.Contains(c.err, "deadline") && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%v does not wrap the end of the context", err)
				}
				if track.open != open {
					t.Errorf("%d connections are open, want %d", track.open, open)
				}
			})
		})
	}
}

func TestNoMoreThan16AddressesAreTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := &raceTrack{begin: time.Now()}
		d := &discovery.Dialer{DNS: dnsOf(many("8.8.8.%d", 60)), Dial: track.dial}
		_, err := d.DialContext(t.Context(), "tcp", "a.ex:443")
		if took := time.Since(track.begin); took != 4*10*second+9*second/10 { // four at a time
			t.Errorf("took %s", took)
		}
		synctest.Wait()
		track.mu.Lock()
		defer track.mu.Unlock()
		if err == nil || len(track.log) != 2*16 {
			t.Errorf("%v, %d notes", err, len(track.log))
		}
	})
}

func TestErrorsOfDialAreWrapped(t *testing.T) {
	down := &net.OpError{Op: "dial", Err: errors.New("down")}
	d := &discovery.Dialer{DNS: dnsOf("8.8.8.8 8.8.4.4"), Dial: func(context.Context, string, string) (net.Conn, error) { return nil, down }}
	_, err := d.DialContext(t.Context(), "tcp", "a.ex:443")
	var op *net.OpError
	if !errors.As(err, &op) || op != down || !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

// transportTo returns an HTTPTransport in whose internet handler is that of example.com.
func transportTo(t *testing.T, handler http.HandlerFunc) *http.Transport {
	t.Helper()
	n := internet.New(t)
	n.DNS.Addr("example.com", "8.8.8.8")
	n.Serve("8.8.8.8:443", []string{"example.com"}, handler)
	d := &discovery.Dialer{DNS: n.DNS.Resolver(), Dial: n.Dial}
	transport := d.HTTPTransport(&tls.Config{RootCAs: n.Roots, ServerName: "not.used", MinVersion: tls.VersionTLS10})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestHTTPTransport(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	big := 0
	transport := transportTo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("it would decompress")
		}
		if r.TLS.ServerName != "example.com" {
			t.Errorf("server name %q", r.TLS.ServerName)
		}
		w.Header().Set("X-Big", strings.Repeat("x", big))
		_, _ = io.WriteString(w, r.Proto)
	})
	client := http.Client{Transport: transport}
	response, err := client.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "HTTP/1.1" {
		t.Errorf("%s, %v", body, err)
	}
	if transport.Proxy != nil || transport.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Error("a proxy, or an old TLS")
	}
	if transport := new(discovery.Dialer).HTTPTransport(nil); transport.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Error("an old TLS without config")
	}
	newer := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "kept"}
	if got := new(discovery.Dialer).HTTPTransport(newer).TLSClientConfig; got.MinVersion != tls.VersionTLS13 || newer.ServerName != "kept" {
		t.Error("the caller's config is lowered, or changed")
	}
	big = 70 << 10
	if response, err := client.Get("https://example.com/"); err == nil {
		_ = response.Body.Close()
		t.Error("a header of 70 KiB is read")
	}
}

func TestHTTPTransportGoesByItsDialer(t *testing.T) {
	c := newCounter(t)
	var none *discovery.Dialer
	for _, d := range []*discovery.Dialer{none, {DNS: dnsOf("127.0.0.1")}} {
		client := http.Client{Transport: d.HTTPTransport(nil)}
		for _, scheme := range []string{"http", "https"} {
			for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "127.1", "2130706433", "１２７.0.0.1", "127.0.0.1."} {
				u := scheme + "://" + host + c.at("") + "/"
				response, err := client.Get(u)
				if err == nil {
					_ = response.Body.Close()
				}
				if !errors.Is(err, discovery.ErrAddress) {
					t.Errorf("%s: %v", u, err)
				}
			}
		}
	}
	if n := c.n.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestAddressErrorSaysWhetherTheAddressIsDenied(t *testing.T) {
	d := &discovery.Dialer{Deny: []netip.Prefix{netip.MustParsePrefix("8.8.8.0/24")}}
	for address, denied := range map[string]bool{"8.8.8.8:1": true, "10.0.0.1:1": false} {
		_, err := d.DialContext(t.Context(), "tcp", address)
		var refused *discovery.AddressError
		if !errors.As(err, &refused) || refused.Denied != denied {
			t.Errorf("%s: %+v (%v), want Denied %v", address, refused, err, denied)
		}
	}
}

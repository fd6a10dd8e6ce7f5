package dnstest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

func lookup(t *testing.T, s *dnstest.Server, name string) []netip.Addr {
	t.Helper()
	addrs, err := s.Resolver().LookupNetIP(t.Context(), "ip", name)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

func TestAddresses(t *testing.T) {
	s := dnstest.New(t)
	s.Addr("a.ex", "127.0.0.1", "::1", "127.0.0.2")
	s.CNAME("b.ex", "C.ex")
	s.CNAME("c.ex.", "a.ex")
	for _, name := range []string{"a.ex.", "A.ex.", "b.ex.", "a.ex"} {
		if got := fmt.Sprint(lookup(t, s, name)); got != "[127.0.0.1 127.0.0.2 ::1]" {
			t.Error(name, got)
		}
	}
	s.Addr("a.ex", "::1")
	if got := fmt.Sprint(lookup(t, s, "a.ex.")); got != "[::1]" {
		t.Error("changed:", got)
	}
}

func TestServices(t *testing.T) {
	s := dnstest.New(t)
	want := net.SRV{Target: "a.ex.", Port: 1, Priority: 2, Weight: 3}
	s.SRV("_x._tcp.a.ex", want)
	_, records, err := s.Resolver().LookupSRV(t.Context(), "x", "tcp", "a.ex.")
	if err != nil || len(records) != 1 || *records[0] != want {
		t.Error(records, err)
	}
}

func TestATargetThatCannotBeSentPanics(t *testing.T) {
	s := dnstest.New(t)
	long := strings.Repeat("a", 64)
	for _, target := range []string{"b..ex.", ".b.ex.", long + ".ex.", strings.Repeat("a.", 130) + "ex."} {
		for kind, set := range map[string]func(){
			"SRV":   func() { s.SRV("_x._tcp.a.ex", net.SRV{Target: target, Port: 1}) },
			"CNAME": func() { s.CNAME("a.ex", target) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s of %q is left out silently", kind, target)
					}
				}()
				set()
			}()
		}
	}
}

func TestLongAnswersComeByTCP(t *testing.T) {
	s := dnstest.New(t)
	var records []net.SRV
	for i := range 200 {
		records = append(records, net.SRV{Target: fmt.Sprintf("target%d.ex.", i), Port: 1})
	}
	s.SRV("_x._tcp.a.ex", records...)
	_, got, err := s.Resolver().LookupSRV(t.Context(), "x", "tcp", "a.ex.")
	if err != nil || len(got) != 200 || s.Questions("_x._tcp.a.ex", dnstest.SRV) < 2 {
		t.Error(len(got), err, s.Questions("_x._tcp.a.ex", dnstest.SRV))
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := dnstest.New(t)
	s.Addr("empty.ex")
	s.SRV("service.ex", net.SRV{Target: ".", Port: 1})
	for _, name := range []string{"unknown.ex.", "empty.ex.", "service.ex."} {
		_, err := s.Resolver().LookupNetIP(t.Context(), "ip", name)
		if dns := new(net.DNSError); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Error(name, err)
		}
	}
	s.Addr("gone.ex", "127.0.0.1")
	s.Remove("gone.ex")
	if _, err := s.Resolver().LookupNetIP(t.Context(), "ip", "gone.ex."); err == nil {
		t.Error("a removed name is found")
	}
}

func TestFailure(t *testing.T) {
	s := dnstest.New(t)
	s.Fail("a.ex")
	_, err := s.Resolver().LookupNetIP(t.Context(), "ip4", "a.ex.")
	if dns := new(net.DNSError); !errors.As(err, &dns) || dns.IsNotFound || !dns.IsTemporary {
		t.Error(err)
	}
	s.Addr("a.ex", "127.0.0.1")
	lookup(t, s, "a.ex.")
}

func TestSilence(t *testing.T) {
	s := dnstest.New(t)
	s.Silence("a.ex")
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan string, 10)
	s.Hook(func(name string, kind dnstest.Type) { asked <- name + " " + kind.String() })
	done := make(chan error)
	go func() {
		_, err := s.Resolver().LookupNetIP(ctx, "ip4", "a.ex.")
		done <- err
	}()
	if got := <-asked; got != "a.ex TypeA" {
		t.Error(got)
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an answer")
		}
	case <-time.After(10 * time.Second):
		t.Error("the look-up does not end")
	}
}

func TestQuestionsAreCounted(t *testing.T) {
	s := dnstest.New(t)
	s.Addr("a.ex", "127.0.0.1")
	lookup(t, s, "a.ex.")
	if s.Questions("A.ex.", dnstest.A) != 1 || s.Questions("a.ex", dnstest.AAAA) != 1 || s.Questions("a.ex", dnstest.SRV) != 0 || s.AllQuestions() != 2 {
		t.Error(s.Questions("a.ex", dnstest.A), s.AllQuestions())
	}
}

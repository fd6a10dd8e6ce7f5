package discovery

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Connections are pooled by where they lead and by whom the certificate is for, since a
// connection that was good for one name says nothing about another. net/http, and its
// traces, know a pool by the host of the URL, so both are written into that:
//
//	matrix.a.ex:8448         the certificate is for the host that is dialled
//	a.ex_matrix.b.ex:8448    the certificate is for a.ex, the host dialled is matrix.b.ex
//	[2001:db8::1]:8448       IPv6 has brackets
//
// '_' is in no name that there is a key for. Nor is '~', which stands in for the "--" of
// "xn--": the pool for HTTP/2 compares hosts after it has taken such labels through
// Unicode and back, and there are different labels that come back the same.
const (
	poolSeparator = "_"
	acePrefix     = "xn--"
	poolACEPrefix = "xn~"
)

// poolKey returns the host of a URL that stands for connections to t with a certificate
// for certName. It is "" if either is no name or address, or the port is 0. Different
// arguments never have the same key.
func poolKey(certName string, t Target) string {
	if !poolName(certName) || !poolName(t.Host) || t.Port == 0 {
		return ""
	}
	host := t.Host
	if host != certName {
		host = certName + poolSeparator + host
	}
	return net.JoinHostPort(strings.ReplaceAll(host, acePrefix, poolACEPrefix), strconv.Itoa(int(t.Port)))
}

// parsePoolKey is the inverse of [poolKey]. It accepts nothing else.
func parsePoolKey(key string) (certName string, t Target, ok bool) {
	host, text, err := net.SplitHostPort(key)
	if err != nil {
		return "", Target{}, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", Target{}, false
	}
	certName, host, two := strings.Cut(strings.ReplaceAll(host, poolACEPrefix, acePrefix), poolSeparator)
	if !two {
		host = certName
	}
	t = Target{Host: host, Port: uint16(port)}
	return certName, t, poolKey(certName, t) == key
}

// poolName reports whether s has the bytes of a DNS name, or is an IP address without
// brackets and zone.
func poolName(s string) bool {
	if strings.Contains(s, ":") {
		addr, err := netip.ParseAddr(s)
		return err == nil && addr.Zone() == ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return s != ""
}

// poolKey returns the key of connections to t with a certificate for certName.
func (t Target) poolKey(certName string) string {
	if t.key != "" {
		return t.key
	}
	return poolKey(certName, t)
}

// address returns t as it is dialled.
func (t Target) address() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

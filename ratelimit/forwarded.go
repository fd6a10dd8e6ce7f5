package ratelimit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ForwardedFor returns a handler that passes requests on to h with RemoteAddr set to the
// address that X-Forwarded-For gives, if they come from a reverse proxy of ours. trusted
// are the addresses of these proxies; prefixes that are not valid contain none.
//
// The header is read from the right, where the nearest proxy has written: the first address
// that is not trusted is the client's, and whatever is left of it may be a lie. If the peer
// itself is not trusted, there is no such address, or what is read is no address, with or
// without a port, RemoteAddr stays as it is. The caller's request is never changed.
//
// A trusted proxy must append to the header, or replace it; one that passes it on as it
// came lets clients choose their address. One that comes by a Unix socket has no address,
// and is not trusted: see [ForwardedForUnix].
func ForwardedFor(h http.Handler, trusted ...netip.Prefix) http.Handler {
	return forwardedFor(h, trusted, false)
}

// ForwardedForUnix is [ForwardedFor] for servers that listen on Unix sockets: peers whose
// RemoteAddr is no IP address and port, such as "@" and "", are trusted too. Whoever may
// open the socket can then choose their address, so its permissions should be such that
// this is the proxy alone. trusted are proxies farther away, and may be none.
func ForwardedForUnix(h http.Handler, trusted ...netip.Prefix) http.Handler {
	return forwardedFor(h, trusted, true)
}

func forwardedFor(h http.Handler, trusted []netip.Prefix, unix bool) http.Handler {
	trusted = slices.Clone(trusted)
	for i, p := range trusted {
		trusted[i] = unmapped(p)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, ok := clientOf(r, trusted, unix); ok {
			behind := *r
			behind.RemoteAddr = client.String()
			r = &behind
		}
		h.ServeHTTP(w, r)
	})
}

// clientOf returns the nearest address on the way of r that is not trusted, with port 0
// where none is known; false if that is its peer, or cannot be told. unix: a peer without
// an address is trusted.
func clientOf(r *http.Request, trusted []netip.Prefix, unix bool) (client netip.AddrPort, ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	known := contains(trusted, plain(peer.Addr()))
	if err != nil {
		known = unix
	}
	if !known {
		return client, false
	}
	for _, line := range slices.Backward(r.Header.Values("X-Forwarded-For")) {
		for line != "" {
			i := strings.LastIndexByte(line, ',')
			client, ok = parseForwarded(strings.Trim(line[i+1:], " \t"))
			if !ok || !contains(trusted, client.Addr()) {
				return client, ok
			}
			line = line[:max(i, 0)]
		}
	}
	return client, false
}

// parseForwarded reads an address with or without a port, IPv6 ones with or without
// brackets.
func parseForwarded(s string) (netip.AddrPort, bool) {
	if client, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(plain(client.Addr()), client.Port()), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(s, ":") {
			return netip.AddrPort{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	return netip.AddrPortFrom(plain(addr), 0), err == nil
}

package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/glob"
)

// A list is a set of patterns for server names or, with ids, for user or room IDs,
// whose server stands behind the first ':'.
type list struct {
	ids   bool
	names map[string]bool // patterns without wildcards, folded
	globs []pattern
}

// A pattern is a glob, and what everything that it matches begins and ends with: to
// compare those first spares most of the matching.
type pattern struct{ glob, prefix, suffix string }

const wildcards = "*?"

func newList(ids bool, patterns []string) *list {
	l := &list{ids: ids, names: map[string]bool{}}
	for _, p := range patterns {
		if p == "" {
			continue
		}
		p, _ = l.fold(p)
		first, last := strings.IndexAny(p, wildcards), strings.LastIndexAny(p, wildcards)
		if first < 0 {
			l.names[p] = true
			continue
		}
		l.globs = append(l.globs, pattern{p, p[:first], p[last+1:]})
	}
	return l
}

// match returns the pattern that matches name, as it is or without its port.
func (l *list) match(name string) (string, bool) {
	name, port := l.fold(name)
	if p, ok := l.find(name); ok || port == 0 {
		return p, ok
	}
	return l.find(name[:len(name)-port])
}

func (l *list) find(name string) (string, bool) {
	if l.names[name] {
		return name, true
	}
	for i := range l.globs {
		p := &l.globs[i]
		if strings.HasPrefix(name, p.prefix) && strings.HasSuffix(name, p.suffix) && glob.Match(p.glob, name) {
			return p.glob, true
		}
	}
	return "", false
}

// fold gives the server in name the one spelling in which it is compared. The last
// port bytes of the result are the port and its colon.
func (l *list) fold(name string) (folded string, port int) {
	local, server := l.split(name)
	if p := fedinvite.ServerName(server).Port(); p != "" {
		port = len(p) + 1
	}
	host, end := server[:len(server)-port], server[len(server)-port:]
	foldedHost, foldedEnd := foldHost(host), foldPort(end)
	if foldedHost != host || foldedEnd != end {
		name = local + foldedHost + foldedEnd
	}
	return name, len(foldedEnd)
}

func (l *list) split(name string) (local, server string) {
	if !l.ids {
		return "", name
	}
	i := strings.IndexByte(name, ':') + 1
	if i == 0 {
		return name, ""
	}
	return name[:i], name[i:]
}

// foldHost undoes what leads to the same host under another name: capital letters,
// dots at the end, the many forms of an address. What has wildcards is no address.
func foldHost(host string) string {
	host = strings.TrimRight(strings.ToLower(host), ".")
	switch {
	case host == "":
		return host
	case '0' <= host[0] && host[0] <= '9':
		return foldIPv4(host)
	case host[0] != '[' || !strings.HasSuffix(host, "]"):
		return host
	}
	addr, err := netip.ParseAddr(host[1 : len(host)-1])
	switch {
	case err != nil:
		return host
	case addr.Is4In6():
		return addr.Unmap().String()
	}
	return "[" + addr.String() + "]"
}

// foldIPv4 reads what inet_aton, and so many a resolver, takes for an IPv4 address: one to
// four numbers, decimal, octal or hexadecimal, of which the last fills what is left.
func foldIPv4(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return host
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return host
	}
	var addr uint32
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 32 - 8*i
		}
		base := 10
		if hex, ok := strings.CutPrefix(part, "0x"); ok {
			part, base = hex, 16
		} else if strings.HasPrefix(part, "0") {
			base = 8
		}
		n, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return host
		}
		addr = addr<<bits | uint32(n)
	}
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}).String()
}

// foldPort takes the zeros away that a port, with its colon, begins with.
func foldPort(port string) string {
	digits := strings.TrimPrefix(port, ":")
	if !strings.HasPrefix(digits, "0") || strings.Trim(digits, "0123456789") != "" {
		return port
	}
	last := len(digits) - 1
	return ":" + strings.TrimLeft(digits[:last], "0") + digits[last:]
}

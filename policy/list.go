package policy

import (
	"net/netip"
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
		switch {
		case p == "":
		case strings.ContainsAny(p, wildcards):
			local, server := l.split(p)
			p = local + strings.ToLower(server)
			first, last := strings.IndexAny(p, wildcards), strings.LastIndexAny(p, wildcards)
			l.globs = append(l.globs, pattern{p, p[:first], p[last+1:]})
		default:
			name, _ := l.fold(p)
			l.names[name] = true
		}
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
	host := server[:len(server)-port]
	if h := foldHost(host); h != host {
		name = local + h + server[len(host):]
	}
	return name, port
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
// dots at the end, the many forms of an IPv6 address.
func foldHost(host string) string {
	host = strings.TrimRight(strings.ToLower(host), ".")
	if !strings.HasPrefix(host, "[") {
		return host
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
	switch {
	case err != nil:
		return host
	case addr.Is4In6():
		return addr.Unmap().String()
	}
	return "[" + addr.String() + "]"
}

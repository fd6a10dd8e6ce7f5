package xmatrix

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A reading is a request that the sender may have signed.
type reading struct {
	request
	body  bodyReading
	fault string
}

// A bodyReading says what is taken for the body.
type bodyReading uint8

const (
	bodyReceived bodyReading = iota
	bodyNone
	bodyEmpty // the object without members
)

// signed returns what was signed by this reading; content is the body in canonical form.
func (r *reading) signed(content []byte) ([]byte, error) {
	switch {
	case r.body == bodyEmpty:
		content = []byte("{}")
	case r.body == bodyNone:
		content = nil
	}
	if len(content) == 0 {
		return r.canonicalMessage(nil)
	}
	return r.canonicalMessage([][]byte{content})
}

// readings returns what else the sender may have signed, at most maxReadings: first what
// differs in one thing from the request as it came, the target or another in turns, then
// other targets together with one other thing.
func (c *claim) readings(content string) []reading {
	others := c.otherThings(content)
	targets := c.otherTargets()
	all := readingSet{seen: []reading{{request: c.request}}}
	for i := range max(len(others), len(targets)) {
		if i < len(targets) {
			all.add(targets[i])
		}
		if i < len(others) {
			all.add(others[i])
		}
	}
	for _, t := range targets {
		for _, r := range others {
			r.target = t.target
			r.fault = t.fault + "; and " + r.fault
			all.add(r)
		}
	}
	return all.seen[1:]
}

// A readingSet holds readings that are all different.
type readingSet struct{ seen []reading }

func (s *readingSet) add(r reading) {
	if len(s.seen) > maxReadings || checkTarget(r.target) != nil {
		return
	}
	if !slices.ContainsFunc(s.seen, func(x reading) bool { return x.request == r.request && x.body == r.body }) {
		s.seen = append(s.seen, r)
	}
}

// otherThings returns the request with one thing changed that is not the target.
func (c *claim) otherThings(content string) []reading {
	var list []reading
	add := func(change func(*reading), fault string) {
		r := reading{request: c.request, fault: fault}
		change(&r)
		if r.request != c.request || r.body != bodyReceived {
			list = append(list, r)
		}
	}
	for _, name := range c.otherNames() {
		add(func(r *reading) { r.destination = name }, "the sender seems to have signed for another name of this server")
	}
	switch content {
	case "":
		add(func(r *reading) { r.body = bodyEmpty }, "the sender seems to have signed a body that did not come")
	default:
		add(func(r *reading) { r.body = bodyNone }, "the sender seems to have left the body out of what it signed, or somebody added it")
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodGet} {
		add(func(r *reading) { r.method = method }, "the method seems to have been changed between the sender and here")
	}
	return list
}

// otherNames returns the names that the sender may take for the destination.
func (c *claim) otherNames() []fedinvite.ServerName {
	withoutPort := c.host
	if port := fedinvite.ServerName(c.host).Port(); port != "" {
		withoutPort = strings.TrimSuffix(c.host, ":"+port)
	}
	var names []fedinvite.ServerName
	for _, as := range []string{c.host, withoutPort, string(c.Assume), string(c.request.destination)} {
		for _, as := range []string{as, strings.ToLower(as)} {
			if name, err := fedinvite.ParseServerName(as); err == nil && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// otherTargets returns the request with other targets, the likely ones first.
func (c *claim) otherTargets() []reading {
	received, query, hasQuery := strings.Cut(c.request.target, "?")
	if hasQuery {
		query = "?" + query
	}
	var list []reading
	add := func(target, how string) {
		r := reading{request: c.request, fault: "the path seems to have been rewritten between the sender and here: " + how}
		r.target = target
		list = append(list, r)
	}
	for _, p := range movedPaths(received) {
		add(p.path+query, p.how)
		for _, other := range likelySpellings(p.path) {
			add(other+query, p.how+", and it was decoded")
		}
	}
	for _, other := range otherSpellings(received) {
		add(other+query, "it was decoded, and perhaps encoded again")
	}
	if hasQuery {
		add(received, "a query was added")
	} else {
		add(received+"?", "its question mark is gone")
	}
	add("/"+received+query, "a slash was removed from its front")
	if shorter, ok := strings.CutSuffix(received, "/"); ok {
		add(shorter+query, "a slash was added to its end")
	} else {
		add(received+"/"+query, "a slash was removed from its end")
	}
	add(path.Clean(received)+query, "slashes or dots were added")
	return list
}

// A movedPath is a path with its front put right.
type movedPath struct{ path, how string }

// movedPaths returns what a path may have been whose front is not that of the federation.
func movedPaths(received string) []movedPath {
	const front, api = "/_matrix", "/federation/"
	if strings.HasPrefix(received, front+"/") {
		return nil
	}
	if i := strings.Index(received, front+"/"); i > 0 {
		return []movedPath{{received[i:], quote(received[:i]) + " was put in front"}}
	}
	if i := strings.Index(received, api); i > 0 {
		return []movedPath{{front + received[i:], quote(received[:i]) + " stands where " + quote(front) + " was"}}
	}
	var list []movedPath
	for _, lost := range []string{front, front + "/federation", front + "/federation/v2", front + "/federation/v1"} {
		list = append(list, movedPath{lost + received, quote(lost) + " was cut off its front"})
	}
	return list
}

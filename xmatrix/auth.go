package xmatrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	scheme    = "X-Matrix"
	maxHeader = 4096 // bytes of one header
	maxKeyID  = 255
	maxSig    = 128 // 64 bytes in base64 are 88 at most
)

// An Auth is the content of one X-Matrix Authorization header. What it says is a
// claim; a [Verifier] checks it.
type Auth struct {
	Origin      fedinvite.ServerName
	Destination fedinvite.ServerName // "" if absent, as older servers send it
	Key         fedinvite.KeyID      // as received, of any algorithm
	Sig         string               // base64, as received
}

// The parameters of the scheme. The specification's list says "signature", its
// example and every server "sig".
var parameters = [...]string{"origin", "destination", "key", "sig", "signature"}

const (
	origin = iota
	destination
	key
	sig
	signature
)

// Parse reads the value of one Authorization header by RFC 9110, section 11.4:
// scheme and names in any case, parameters in any order, white space and empty
// elements around commas, backslash escapes in quoted strings; unquoted values may
// have colons, slashes and padding. Unknown parameters are ignored.
//
// The header may have at most 4,096 bytes, the key 255 and the signature 128.
// Origin, key and signature ("sig" or "signature") are required, origin and
// destination must be server names, and no known parameter may come twice. Errors
// wrap [fedinvite.ErrUnauthorized] and show nothing of the header.
func Parse(header string) (Auth, error) {
	if len(header) > maxHeader {
		return Auth{}, malformed("more than 4096 bytes")
	}
	rest, ok := cutScheme(header)
	if !ok {
		return Auth{}, malformed("the scheme is not X-Matrix")
	}
	if !strings.HasPrefix(rest, " ") {
		return Auth{}, malformed("no space after the scheme")
	}
	var values [len(parameters)]string
	var seen [len(parameters)]bool
	s := scanner{rest}
	for first := true; ; first = false {
		comma := s.separator()
		if s.rest == "" {
			break
		}
		if !comma && !first {
			return Auth{}, malformed("no comma between parameters")
		}
		name, value, ok := s.parameter()
		if !ok {
			return Auth{}, malformed("syntax error")
		}
		i := slices.IndexFunc(parameters[:], func(known string) bool { return strings.EqualFold(known, name) })
		if i < 0 {
			continue
		}
		if seen[i] {
			return Auth{}, malformed("repeated " + parameters[i])
		}
		seen[i], values[i] = true, value
	}
	if seen[sig] && seen[signature] {
		return Auth{}, malformed("both sig and signature")
	}
	a := Auth{
		Origin:      fedinvite.ServerName(values[origin]),
		Destination: fedinvite.ServerName(values[destination]),
		Key:         fedinvite.KeyID(values[key]),
		Sig:         values[sig] + values[signature],
	}
	if err := a.check(seen[destination]); err != nil {
		return Auth{}, err
	}
	return a, nil
}

func (a Auth) check(hasDestination bool) error {
	if _, err := fedinvite.ParseServerName(string(a.Origin)); err != nil {
		return malformed("origin is missing or no server name")
	}
	if _, err := fedinvite.ParseServerName(string(a.Destination)); err != nil && hasDestination {
		return malformed("destination is no server name")
	}
	if a.Key == "" || len(a.Key) > maxKeyID {
		return malformed("key is missing or too long")
	}
	if a.Sig == "" || len(a.Sig) > maxSig {
		return malformed("sig is missing or too long")
	}
	return nil
}

// String returns the header as the specification advises to write it: one space,
// lower-case names, every value quoted, no white space. Destination is left out if
// it is empty. [Parse] returns the same Auth for it.
func (a Auth) String() string {
	b := []byte(scheme + " origin=")
	b = appendQuoted(b, string(a.Origin))
	if a.Destination != "" {
		b = append(b, ",destination="...)
		b = appendQuoted(b, string(a.Destination))
	}
	b = append(b, ",key="...)
	b = appendQuoted(b, string(a.Key))
	b = append(b, ",sig="...)
	b = appendQuoted(b, a.Sig)
	return string(b)
}

// cutScheme returns what follows the scheme if it is ours.
func cutScheme(header string) (rest string, ok bool) {
	header = strings.Trim(header, " \t")
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	rest = header[len(scheme):]
	return rest, rest == "" || !isToken(rest[0])
}

func malformed(why string) error {
	return fmt.Errorf("%w: malformed X-Matrix header: %s", fedinvite.ErrUnauthorized, why)
}

package discovery

import (
	"strings"
	"unicode"
)

// maxTargetText is how much an error says of one target, in bytes.
const maxTargetText = 300

// A connectError says that there is no connection to a target, so that nothing was sent
// there.
type connectError struct {
	address string
	err     error
}

func (e *connectError) Error() string { return e.address + ": " + oneLine(e.err.Error()) }

func (e *connectError) Unwrap() error { return e.err }

// An unreachableError says that there is no connection to any target of a server that was
// tried. Whoever made the request names the server.
type unreachableError struct {
	failures []error // a *connectError for each target, or what ended the trying
}

func (e *unreachableError) Error() string {
	var text strings.Builder
	text.WriteString("discovery: no connection")
	for i, err := range e.failures {
		text.WriteString([]string{": ", "; "}[min(i, 1)])
		text.WriteString(err.Error())
	}
	return text.String()
}

func (e *unreachableError) Unwrap() []error { return e.failures }

// oneLine cuts and cleans text that may quote a peer: a certificate names its hosts
// with any bytes.
func oneLine(s string) string {
	if len(s) > maxTargetText {
		s = strings.ToValidUTF8(s[:maxTargetText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

package discovery

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How long a delegation counts.
const (
	minLifetime     = 5 * time.Minute
	maxLifetime     = 48 * time.Hour
	defaultLifetime = 24 * time.Hour
)

// lifetime returns how long an answer with the headers h counts that was asked for at
// the time now (RFC 9111, section 4.2). What cannot be understood is stale, as that
// section recommends, and so counts for the least time.
func lifetime(h http.Header, now time.Time) time.Duration {
	age, said := cacheControl(h.Values("Cache-Control"))
	if !said {
		age, said = expires(h, now)
	}
	if !said {
		return defaultLifetime
	}
	if since, ok := seconds(h.Get("Age")); ok {
		age = max(age, 0) - since
	}
	return min(max(age, minLifetime), maxLifetime)
}

// cacheControl returns what the directives say. Of several max-age the first one counts, and
// nothing against no-store and no-cache.
func cacheControl(values []string) (age time.Duration, said bool) {
	for _, value := range values {
		for value != "" {
			var directive string
			directive, value = cutDirective(value)
			name, argument, _ := strings.Cut(directive, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				if !said {
					age, _ = seconds(strings.Trim(strings.TrimSpace(argument), `"`))
				}
				said = true
			}
		}
	}
	return age, said
}

// cutDirective cuts at the first comma that is not quoted.
func cutDirective(s string) (directive, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ',':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// expires returns what the header Expires says, by the clock of the web server if it
// tells the Date, else by ours.
func expires(h http.Header, now time.Time) (age time.Duration, said bool) {
	values := h.Values("Expires")
	if len(values) == 0 {
		return 0, false
	}
	until, err := http.ParseTime(values[0])
	if err != nil {
		return 0, true
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return until.Sub(now), true
}

// maxSeconds is what longer times count as (RFC 9111, section 1.2.2).
const maxSeconds = 1 << 31

// seconds reads a number of seconds without a sign.
func seconds(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseUint(s, 10, 64) // digits alone can only be too many, and then n is the most
	return time.Duration(min(n, maxSeconds)) * time.Second, true
}

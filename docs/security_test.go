package docs_test

import (
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// limits are all bounds of the library, each with where it stands in the source.
var limits = []struct{ area, what, bound, file, source string }{
	{"a delivery", "request body", "1 MiB, `Config.MaxBody`", "invite.go", "defaultMaxBody = 1 << 20"},
	{"", "time before the Handler, reading the body included", "30 s, `Config.Timeout`", "invite.go", "defaultTimeout = 30 * time.Second"},
	{"", "servers whose keys are asked for", "10", "verification.go", "maxKeyServers = 10"},
	{"", "signatures checked", "128", "verification.go", "maxSignatureChecks = 128"},
	{"", "entries of `invite_room_state`", "100", "body.go", "maxRoomState = 100"},
	{"the Authorization header", "one header", "4,096 bytes", "xmatrix/auth.go", "maxHeader = 4096"},
	{"", "X-Matrix headers", "4", "xmatrix/verify.go", "maxHeaders = 4"},
	{"", "with `Hints`: further signature checks", "40, once a second", "xmatrix/hint.go", "maxReadings = 40"},
	{"JSON", "nesting", "128", "canonicaljson.go", "maxNesting = 128"},
	{"", "digits of an integer, room versions 1–5", "4,300", "canonicaltoken.go", "maxLegacyDigits = 4300"},
	{"", "numbers that cost much, room versions 1–5", "100", "canonicaltoken.go", "maxHardNumbers = 100"},
	{"an event", "canonical JSON without `unsigned`", "65,536 bytes; 65,522 of one that is made here", "parse.go", "maxEventSize = 65536"},
	{"", "`auth_events`, `prev_events`", "10, 20", "parse.go", "maxAuthEvents = 10  maxPrevEvents = 20"},
	{"", "an identifier", "255 bytes", "identifiers.go", "maxIdentifier = 255"},
	{"", "signatures", "100", "verification.go", "maxSignatures = 100"},
	{"", "signatures of the invited server in a reply", "10", "build.go", "maxReplySignatures = 10"},
	{"", "pairs of signature and key tried for a third-party invite", "128", "eventauth/thirdparty.go", "maxChecks = 128"},
	{"keys", "a key document", "256 KiB", "keyring/document.go", "maxDocument = 256 << 10"},
	{"", "current keys in it, all keys in it", "16, 64", "keyring/document.go", "maxVerifyKeys = 16"},
	{"", "a notary's answer", "4 MiB", "keyring/answer.go", "maxAnswer = 4 << 20"},
	{"", "validity of a key after it was fetched", "7 days", "keyring/document.go", "maxValidity = 7 * 24 * time.Hour"},
	{"", "pause after an answer", "1 minute", "keyring/memory.go", "minInterval = time.Minute"},
	{"", "pause after a failure", "30 s, doubling up to 1 h", "keyring/memory.go", "minBackoff = 30 * time.Second"},
	{"", "fetches at a time", "64, of which one domain gets 8, `MaxFetches`", "keyring/ring.go", "c.MaxFetches = 64"},
	{"", "servers in memory", "10,000 with keys, 10,000 that failed, `MaxServers`", "keyring/ring.go", "c.MaxServers = 10_000"},
	{"finding servers", ".well-known", "50 KiB, 5 redirects", "discovery/wellknown.go", "maxWellKnown = 50 << 10 // bytes  maxRedirects = 5"},
	{"", "a delegation is remembered", "48 h at most", "discovery/lifetime.go", "maxLifetime = 48 * time.Hour"},
	{"", "SRV records used", "8", "discovery/srv.go", "maxRecords = 8"},
	{"", "addresses of a name", "16 of the first 256", "discovery/dialerlookup.go", "maxAddrs, maxJudged = 16, 256"},
	{"", "certificates of a peer", "64 KiB", "discovery/certificates.go", "maxCertificates = 64 << 10"},
	{"", "connections kept", "1,000, and 2 idle for a target", "discovery/connections.go", "maxConnections = 1000"},
	{"requests of ours", "a reply", "1 MiB", "fedclient/reply.go", "maxReply = 1 << 20"},
	{"", "an error body, its message", "64 KiB, 512 bytes", "fedclient/errors.go", "maxErrorBody = 64 << 10"},
	{"", "repetitions", "3, within 1 minute", "fedclient/client.go", "defaultRetries    = 3"},
	{"", "`Retry-After` believed", "1 h", "fedclient/errors.go", "maxRetryAfter = time.Hour"},
	{"", "servers asked to decline", "10", "fedclient/decline.go", "maxDeclineServers = 10"},
	{"a transaction", "PDUs, EDUs", "50, 100", "fedserver/transactionbody.go", "maxPDUs = 50  maxEDUs = 100"},
	{"", "body", "9,830,400 bytes, `Endpoint.MaxBody`", "fedserver/transactionbody.go", "(maxPDUs + maxEDUs) << 16"},
	{"", "servers whose keys are asked for", "10", "fedserver/signers.go", "maxKeyServers = 10"},
	{"third-party invites", "invites in one onbind", "50", "thirdparty/bind.go", "maxInvites = 50"},
	{"", "key_validity_urls asked", "3", "fedserver/thirdparty.go", "maxValidityURLs = 3"},
	{"", "such a URL, its answer", "2,048 bytes, 64 KiB", "fedclient/keyvalid.go", "maxKeyValidURL = 2048"},
	{"rate limits", "by remote address", "50, then 10 a second", "ratelimit/config.go", `{"Remote", &c.Remote, Limit{Every: 100 * time.Millisecond, Burst: 50}}`},
	{"", "by origin", "10, then 5 a second; 40 wait", "ratelimit/config.go", `{"Origin", &c.Origin, Limit{Every: 200 * time.Millisecond, Burst: 10, Queue: 40}}`},
	{"", "by sender, by room", "50, then one each 3 s", "ratelimit/config.go", `{"Sender", &c.Sender, Limit{Every: 3 * time.Second, Burst: 50}}`},
	{"", "by invitee", "20, then one a minute", "ratelimit/config.go", `{"Invitee", &c.Invitee, Limit{Every: time.Minute, Burst: 20}}`},
	{"", "waiting, all together", "256", "ratelimit/places.go", "maxWaiting = 256"},
	{"", "names counted, of each kind", "10,000, `MaxEntries`", "ratelimit/config.go", "defaultMaxEntries = 10_000"},
}

// The page's table of limits is what the source says.
func TestLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString("| | what | bound |\n|---|---|---|\n")
	for _, l := range limits {
		if !has(readFile(t, "../"+l.file), l.source) {
			t.Errorf("%s no longer has %q", l.file, l.source)
		}
		area := l.area
		if area != "" {
			area = "**" + area + "**"
		}
		b.WriteString("| " + area + " | " + l.what + " | " + l.bound + " |\n")
	}
	holdTable(t, "security.md", "limits", b.String())
}

// has reports whether the source has that part, however it is aligned, and no longer number
// in its place.
func has(source, part string) bool {
	source, part = strings.Join(strings.Fields(source), " ")+" ", strings.Join(strings.Fields(part), " ")
	for {
		_, rest, found := strings.Cut(source, part)
		if !found || !strings.ContainsAny(rest[:1], "0123456789_") {
			return found
		}
		source = rest
	}
}

// The page's table of steps is the pipeline's.
func TestStepsAreThoseOfThePipeline(t *testing.T) {
	var named []string
	for line := range strings.Lines(readFile(t, "security.md")) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(line, "| `") {
			named = append(named, strings.Trim(cells[1], " `"))
		}
	}
	if got, want := strings.Join(named, ", "), strings.Join(fedinvite.Steps(), ", "); got != want {
		t.Errorf("the page has the steps\n%s\nwant\n%s", got, want)
	}
}

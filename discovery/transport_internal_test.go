package discovery

import (
	"net/http"
	"net/http/httptrace"
	"testing"
)

// atOnce is a RoundTripper that has the answer.
type atOnce struct{ answer http.Response }

func (a *atOnce) RoundTrip(*http.Request) (*http.Response, error) { return &a.answer, nil }

// withoutNetwork returns a Transport that answers all requests at once.
func withoutNetwork(t testing.TB) *Transport {
	t.Helper()
	transport, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	transport.connections.transport = func(*pool) *http.Transport {
		answers := &http.Transport{Protocols: new(http.Protocols)} // HTTP/2 would register itself
		answers.RegisterProtocol("https", &atOnce{http.Response{StatusCode: 200, Body: http.NoBody}})
		return answers
	}
	transport.connections.enter("a.ex:8448") // and stay, as if there were a connection
	return transport
}

// BenchmarkRoundTripOverhead is what a Transport does about a request itself, where the
// server name itself says where the server is. The limit is 2 µs and 9
// allocations.
func BenchmarkRoundTripOverhead(b *testing.B) {
	for name, trace := range map[string]*httptrace.ClientTrace{
		"plain":      nil,
		"traced":     {GetConn: func(string) {}},
		"handshakes": {TLSHandshakeStart: func() {}},
	} {
		b.Run(name, func(b *testing.B) {
			transport := withoutNetwork(b)
			ctx := b.Context()
			if trace != nil {
				ctx = httptrace.WithClientTrace(ctx, trace)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "matrix://a.ex:8448/_matrix/key/v2/server", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := transport.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

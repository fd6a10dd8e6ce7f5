package discovery_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
)

// BenchmarkTransport compares a Transport with the net/http transport that it is made of,
// over a connection that is kept. The limit is 15 % more time.
func BenchmarkTransport(b *testing.B) {
	for protocol, http1 := range map[string]bool{"HTTP1": true, "HTTP2": false} {
		n := oneTarget(b)
		n.HTTP1 = http1
		// Not the peers of tests, which remember every request.
		n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil).Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{}")
		})
		plain := &http.Transport{
			DialContext:        n.Dial,
			TLSClientConfig:    &tls.Config{RootCAs: n.Roots, ServerName: "a.ex"},
			ForceAttemptHTTP2:  true,
			DisableCompression: true,
		}
		b.Cleanup(plain.CloseIdleConnections)
		b.Run(protocol+"/Transport", func(b *testing.B) { repeat(b, n.Transport(nil), "https://a.ex:8448/x") })
		b.Run(protocol+"/net.http", func(b *testing.B) { repeat(b, plain, "https://8.0.0.1:8448/x") })
	}
}

// repeat sends one request after the other.
func repeat(b *testing.B, transport http.RoundTripper, target string) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, target, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		res, err := transport.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

package discovery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// tlsProxy is a proxy that speaks TLS, connects nowhere and says hello instead.
func tlsProxy(t *testing.T) (proxy *url.URL, roots *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.RequestURI != "8.8.8.8:443" {
			t.Errorf("asked %s %s", r.Method, r.RequestURI)
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
	}))
	server.EnableHTTP2 = true // it must not be chosen
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	proxy, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return proxy, roots
}

func TestConnectProxyByTLS(t *testing.T) {
	proxy, roots := tlsProxy(t)
	dial, err := connectProxy(proxy, nil, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(t.Context(), "tcp", "8.8.8.8:443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConnectProxyVerifiesTheProxy(t *testing.T) {
	proxy, roots := tlsProxy(t)
	_, port, _ := net.SplitHostPort(proxy.Host)
	elsewhere := &url.URL{Scheme: "https", Host: "localhost:" + port} // not a name of the certificate
	for _, c := range []struct {
		proxy *url.URL
		tls   *tls.Config
	}{
		{proxy, nil},
		{elsewhere, &tls.Config{RootCAs: roots}},
	} {
		dial, err := connectProxy(c.proxy, nil, c.tls)
		if err != nil {
			t.Fatal(err)
		}
		var unverified *tls.CertificateVerificationError
		if _, err := dial(t.Context(), "tcp", "8.8.8.8:443"); !errors.As(err, &unverified) {
			t.Errorf("%s: %v", c.proxy, err)
		}
	}
}

package invitetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Target is a server under test, in any language.
type Target struct {
	// Name is its server name. Required.
	Name fedinvite.ServerName
	// Handler is the server, if it runs in this process: it is introduced to Peer.
	Handler http.Handler
	// URL is where it is, such as "https://127.0.0.1:8448", if it does not; "": where its
	// name leads in the Network of Peer.
	URL string
	// Roots are trusted for URL; nil: those of Peer's Network and the system's. The
	// certificate must be for the host of URL or of Name.
	Roots *x509.CertPool
	// Dial connects to the host and port of URL; nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport carries requests; nil: one that goes to URL, or Peer's if there is none.
	Transport http.RoundTripper
	// Invitee is the user ID of one of its users who can be invited by everybody. They get
	// some hundred invites. Required.
	Invitee string
	// Invitees are further such users; if there are any, all are invited in turns. They
	// help if the target limits how often one user is invited.
	Invitees []string
	// Blocking is the user ID of one of its users who has blocked invites; "": what is
	// about them is skipped.
	Blocking string
	// Peer is the server that makes the requests. The target must be able to fetch its keys:
	// give it Peer.Transport, or Peer a name that it finds. Required.
	Peer *Server
	// Keys are the keys of the target; nil: those that it publishes, which is a part of the
	// suite.
	Keys fedinvite.KeySource
	// Versions are the room versions to try; nil: all that the suite knows, without those
	// that the target refuses by M_INCOMPATIBLE_ROOM_VERSION. Name yours if you know only
	// some. What is not about one version is tried in 11, or in the last of them if that is
	// not among them.
	Versions []fedinvite.RoomVersion
	// Invite has a user of the target invite a user of Peer into a new room of that version
	// and returns nil if the target says that it worked; nil: what is about sending is skipped.
	// Its context ends after three times Timeout.
	Invite func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error
	// Timeout bounds one request, and the wait for a target that answers 429; 0: 10 s.
	Timeout time.Duration
}

// Check returns an error that says what is missing or wrong in t.
func (t Target) Check() error {
	if _, err := fedinvite.ParseServerName(string(t.Name)); err != nil {
		return fmt.Errorf("invitetest: Target.Name: %w", err)
	}
	if t.Peer == nil {
		return errors.New("invitetest: Target.Peer is missing")
	}
	if t.Peer.Name() == t.Name {
		return errors.New("invitetest: Target.Peer has the name of the target")
	}
	if t.Handler != nil && t.URL != "" {
		return errors.New("invitetest: Target has both Handler and URL")
	}
	if t.Timeout < 0 {
		return errors.New("invitetest: Target.Timeout is negative")
	}
	return errors.Join(t.checkURL(), t.checkUsers(), t.checkVersions())
}

func (t Target) checkURL() error {
	if t.URL == "" {
		return nil
	}
	if !strings.Contains(t.URL, "://") {
		return fmt.Errorf("invitetest: Target.URL %q has no scheme: write https://%s", t.URL, t.URL)
	}
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		return fmt.Errorf("invitetest: Target.URL: %w", err)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("invitetest: Target.URL %q is not of the form https://host:port", t.URL)
	}
	return nil
}

func (t Target) checkUsers() error {
	users := t.invitees()
	if t.Blocking != "" {
		users = append(users, t.Blocking)
	}
	for _, user := range users {
		_, server, err := fedinvite.ParseUserID(user)
		if err != nil {
			return fmt.Errorf("invitetest: users of Target: %w", err)
		}
		if server != t.Name {
			return fmt.Errorf("invitetest: users of Target: %q is not a user of %q", user, t.Name)
		}
	}
	return nil
}

func (t Target) checkVersions() error {
	for _, v := range t.Versions {
		if _, err := v.Rules(); err != nil {
			return fmt.Errorf("invitetest: Target.Versions: %w", err)
		}
	}
	return nil
}

// invitees are all users who can be invited.
func (t Target) invitees() []string { return append([]string{t.Invitee}, t.Invitees...) }

// versions are the room versions to try.
func (t Target) versions() []fedinvite.RoomVersion {
	if len(t.Versions) == 0 {
		return fedinvite.RoomVersions()
	}
	return t.Versions
}

// version is the room version for what is not about one.
func (t Target) version() fedinvite.RoomVersion {
	all := t.versions()
	if slices.Contains(all, fedinvite.RoomV11) {
		return fedinvite.RoomV11
	}
	return all[len(all)-1]
}

func (t Target) timeout() time.Duration {
	if t.Timeout == 0 {
		return 10 * time.Second
	}
	return t.Timeout
}

// base is where requests go.
func (t Target) base() string {
	if t.URL == "" {
		return "https://" + string(t.Name)
	}
	return t.URL
}

// transport is what carries requests, and what ends it.
func (t Target) transport() (http.RoundTripper, func()) {
	switch {
	case t.Transport != nil:
		return t.Transport, func() {}
	case t.URL == "":
		return t.Peer.Transport(), func() {}
	}
	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: t.timeout()}).DialContext
	}
	own := &http.Transport{
		DialContext:            dial,
		TLSHandshakeTimeout:    t.timeout(), // what hangs counts for MaxConnsPerHost
		TLSClientConfig:        t.tls(),
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        8,
	}
	return own, own.CloseIdleConnections
}

// host is the Host header of requests, which is also the name that is asked for by TLS;
// "": that of the URL. Servers are tried at their addresses too, and know only their names.
func (t Target) host() string {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		return ""
	}
	return string(t.Name)
}

// tls is the configuration for connections to URL.
func (t Target) tls() *tls.Config {
	pools := []*x509.CertPool{t.Peer.Network().Roots(), nil} // nil: the system's
	if t.Roots != nil {
		pools = []*x509.CertPool{t.Roots}
	}
	hosts := []string{t.Name.Host()}
	if u, err := url.Parse(t.URL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The library's own check knows one name and one set of roots; see certified.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return certified(s.PeerCertificates, hosts, pools) },
	}
	if _, err := netip.ParseAddr(t.Name.Host()); err != nil && t.host() != "" {
		config.ServerName = t.Name.Host()
	}
	return config
}

// certified demands a chain that is for one of the hosts and ends in one of the pools.
func certified(chain []*x509.Certificate, hosts []string, pools []*x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	var failure error
	for _, host := range hosts {
		for _, pool := range pools {
			_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: intermediates, Roots: pool})
			if err == nil {
				return nil
			}
			failure = err
		}
	}
	return failure
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
)

// A connection is what came of connecting to an address.
type connection struct {
	TLS         string       `json:"tls,omitempty"`      // the version
	Protocol    string       `json:"protocol,omitempty"` // that was negotiated
	Certificate *certificate `json:"certificate,omitempty"`
	Error       string       `json:"error,omitempty"`
}

// A certificate is what a server shows of itself, be it good or not.
type certificate struct {
	Names    []string `json:"names"`
	NotAfter int64    `json:"not_after_ts"`
	Issuer   string   `json:"issuer"`
}

// maxConnections is how many addresses are connected to in all.
const maxConnections = 16

// connect connects to the addresses that may be connected to, all at once.
func (r *route) connect(ctx context.Context, d *discovery.Dialer, config *tls.Config) {
	config = config.Clone()
	config.ServerName = r.CertName
	config.NextProtos = []string{"h2", "http/1.1"}
	var all sync.WaitGroup
	connections := 0
	for _, t := range r.Targets {
		for i := range t.Addresses {
			a := &t.Addresses[i]
			if !a.Permitted || connections == maxConnections {
				continue
			}
			connections++
			all.Go(func() {
				// The Dialer, so that what was looked up here is judged as all else.
				a.Connection = handshake(ctx, d, net.JoinHostPort(a.Address.String(), strconv.Itoa(int(t.Port))), config)
			})
		}
	}
	all.Wait()
}

// handshake connects by TLS, and closes the connection.
func handshake(ctx context.Context, d *discovery.Dialer, hostPort string, config *tls.Config) *connection {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	raw, err := d.DialContext(ctx, "tcp", hostPort)
	if err != nil {
		return &connection{Error: err.Error()}
	}
	defer func() { _ = raw.Close() }()
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &connection{Certificate: newCertificate(bad.UnverifiedCertificates), Error: err.Error()}
	}
	if err != nil {
		return &connection{Error: err.Error()}
	}
	state := conn.ConnectionState()
	c := &connection{TLS: tls.VersionName(state.Version), Protocol: state.NegotiatedProtocol, Certificate: newCertificate(state.PeerCertificates)}
	if c.Protocol == "" {
		c.Protocol = "http/1.1" // what goes without saying
	}
	return c
}

// maxNames is how many names of a certificate are shown.
const maxNames = 20

func newCertificate(chain []*x509.Certificate) *certificate {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return &certificate{names[:min(len(names), maxNames)], leaf.NotAfter.UnixMilli(), leaf.Issuer.String()}
}

// Software is what a server says of itself.
type software struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Address string `json:"address"` // of the connection over which it was asked
}

// askVersion asks as any request is made (server-server API, GET
// /_matrix/federation/v1/version).
func askVersion(ctx context.Context, t *discovery.Transport, server fedinvite.ServerName) (*software, error) {
	client, err := asker(t)
	if err != nil {
		return nil, err
	}
	var from string
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		from = info.Conn.RemoteAddr().String()
	}})
	body, err := client.Do(ctx, fedclient.Request{
		Method:      http.MethodGet,
		Destination: server,
		Path:        strings.Split(versionPath[1:], "/"),
		MaxReply:    64 << 10,
	})
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", versionPath, err)
	}
	s, err := parseVersion(body)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", versionPath, server, err)
	}
	s.Address = from
	return &s, nil
}

// parseVersion reads a reply, which may lack name and version, but have nothing else in
// their places.
func parseVersion(body []byte) (software, error) {
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return software{}, err
	}
	// Maps, because encoding/json matches struct fields in any case of letters.
	var reply, server map[string]json.RawMessage
	var s software
	err = json.Unmarshal(text, &reply)
	err = errors.Join(err, optional(reply, "server", &server))
	err = errors.Join(err, optional(server, "name", &s.Name), optional(server, "version", &s.Version))
	if err != nil {
		return software{}, fmt.Errorf("%w: %w", fedinvite.ErrBadJSON, err)
	}
	return s, nil
}

// optional reads a member that may be missing.
func optional(of map[string]json.RawMessage, name string, value any) error {
	raw, ok := of[name]
	if !ok {
		return nil
	}
	return json.Unmarshal(raw, value)
}

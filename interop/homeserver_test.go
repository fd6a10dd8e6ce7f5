package interop

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readyTimeout bounds how long a server may take to answer its first request.
const readyTimeout = 2 * time.Minute

// homeserver is a Synapse.
type homeserver struct {
	*process // while it runs
	venv     venv
	dir      string   // for all that it keeps
	name     string   // server name
	address  string   // where it listens
	certs    []string // names on its certificate, beside those of the loopback interface
	client   client   // the client-server API, nobody logged in
	secret   string   // shared secret for registrations
	database string   // SQLite file
	keyLine  string   // its signing key, as Synapse writes it
	oldKeys  map[string]any
}

// startSynapse runs Synapse on the loopback interface with everything it keeps
// in dir, and waits until it answers. Its name is its address.
func startSynapse(ctx context.Context, t *testing.T, v venv, dir string, ca *authority) *homeserver {
	t.Helper()
	h := newSynapse(t, v, dir, ca)
	h.name = h.address
	h.run(ctx, t, ca)
	return h
}

// newSynapse prepares a Synapse that has no name yet.
func newSynapse(t *testing.T, v venv, dir string, ca *authority) *homeserver {
	t.Helper()
	address := freeAddress(t)
	return &homeserver{
		venv:     v,
		dir:      dir,
		address:  address,
		client:   client{base: "https://" + address, http: ca.client},
		secret:   rand.Text(),
		database: filepath.Join(dir, "homeserver.db"),
		keyLine:  newKeyLine("a_synapse"),
		oldKeys:  map[string]any{},
	}
}

// newKeyLine makes a signing key.
func newKeyLine(version string) string {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails
	return "ed25519 " + version + " " + base64.RawStdEncoding.EncodeToString(seed)
}

// run starts Synapse and waits until it answers. It may be called again once the server
// has been stopped.
func (h *homeserver) run(ctx context.Context, t *testing.T, ca *authority) {
	t.Helper()
	dir := h.dir
	// A JSON document is a YAML document, so that no YAML has to be written.
	config, err := json.MarshalIndent(h.config(t, dir, ca), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(dir, "homeserver.yaml")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, cancel := command(ctx, h.venv.python(), "-m", "synapse.app.homeserver", "--config-path", configFile)
	cmd.Dir = dir
	h.process = start(t, dir, "synapse", cmd, cancel)
	h.awaitReady(ctx, t, readyTimeout, func(ctx context.Context) error {
		return h.client.get(ctx, "/_matrix/client/versions", nil)
	})
}

// config is Synapse's configuration: one TLS listener for everything, no
// notary, no limits on rates, and federation with loopback addresses.
func (h *homeserver) config(t *testing.T, dir string, ca *authority) map[string]any {
	t.Helper()
	certFile, tlsKeyFile := ca.issue(t, "synapse", h.certs...)
	host, port, err := net.SplitHostPort(h.address)
	if err != nil {
		t.Fatal(err)
	}
	portNumber, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	signingKeyFile := filepath.Join(dir, "synapse.signing.key")
	if err := os.WriteFile(signingKeyFile, []byte(h.keyLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	type object = map[string]any
	plenty := object{"per_second": 1000, "burst_count": 1000}
	return object{
		"server_name":                 h.name,
		"public_baseurl":              "https://" + h.address + "/",
		"serve_server_wellknown":      false,
		"report_stats":                false,
		"presence":                    object{"enabled": false},
		"signing_key_path":            signingKeyFile,
		"old_signing_keys":            h.oldKeys,
		"media_store_path":            filepath.Join(dir, "media"),
		"database":                    object{"name": "sqlite3", "args": object{"database": h.database}},
		"macaroon_secret_key":         rand.Text(),
		"form_secret":                 rand.Text(),
		"bcrypt_rounds":               4,
		"enable_metrics":              true,
		"suppress_key_server_warning": true,
		"registration_shared_secret":  h.secret,

		"listeners": []object{{
			"type":           "http",
			"tls":            true,
			"port":           portNumber,
			"bind_addresses": []string{host},
			"resources":      []object{{"names": []string{"client", "federation", "metrics"}}},
		}},
		"tls_certificate_path": certFile,
		"tls_private_key_path": tlsKeyFile,

		// Trust our authority and nobody else, ask no notary for keys, and let
		// federation reach the loopback interface.
		"federation_custom_ca_list": []string{ca.certFile},
		"trusted_key_servers":       []string{},
		"ip_range_blacklist":        []string{},
		"federation": object{
			"client_timeout":                 "20s",
			"max_short_retries":              1,
			"max_long_retries":               1,
			"destination_min_retry_interval": "1s",
			"destination_max_retry_interval": "1s",
		},

		"rc_message":       plenty,
		"rc_registration":  plenty,
		"rc_room_creation": plenty,
		"rc_login":         object{"address": plenty, "account": plenty, "failed_attempts": plenty},
		"rc_joins":         object{"local": plenty, "remote": plenty},
		"rc_invites":       object{"per_room": plenty, "per_user": plenty, "per_issuer": plenty},
	}
}

// version is the release that the running server claims to be.
func (h *homeserver) version(ctx context.Context, t *testing.T) string {
	t.Helper()
	var answer struct {
		Server struct {
			Version string `json:"version"`
		} `json:"server"`
	}
	if err := h.client.get(ctx, "/_matrix/federation/v1/version", &answer); err != nil {
		t.Errorf("Synapse's version: %v", err)
	}
	return answer.Server.Version
}

// roomStateComplaints is the number of invites so far whose room state Synapse
// could not verify. It takes such invites all the same, and tells no one but
// its metrics.
func (h *homeserver) roomStateComplaints(ctx context.Context, t *testing.T) string {
	t.Helper()
	var metrics []byte
	if err := h.client.get(ctx, "/_synapse/metrics", &metrics); err != nil {
		t.Fatalf("Synapse's metrics: %v", err)
	}
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "synapse_federation_saw_invalid_stripped_state_total{") {
			_, count, _ := strings.Cut(line, "} ")
			return strings.TrimSpace(count)
		}
	}
	return "0.0" // the counter appears with the first complaint
}

package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// proxied is how one server block of nginx hands requests on, and what comes of it.
type proxied struct {
	name   string
	config string // of the server block; UPSTREAM is where the server listens
	fault  string // of an invite from Go; "": it arrives as it was signed
}

const (
	rewritten = "the path seems to have been rewritten between the sender and here: "
	decoded   = rewritten + "it was decoded, and perhaps encoded again"
)

// proxies are the ways in which people write proxy_pass.
var proxies = []proxied{
	{"right", `location /_matrix/ { proxy_pass http://UPSTREAM; }`, ""},
	{"right for everything", `location / { proxy_pass http://UPSTREAM; }`, ""},
	{"right with the target as a variable", `location / { proxy_pass http://UPSTREAM$request_uri; }`, ""},
	{"right whatever the Host", `location / { proxy_pass http://UPSTREAM; proxy_set_header Host elsewhere.test; }`, ""},
	{"right whatever happens to slashes", `merge_slashes off; location / { proxy_pass http://UPSTREAM; }`, ""},
	{"a slash behind the address", `location / { proxy_pass http://UPSTREAM/; }`, decoded},
	{"the path repeated", `location /_matrix/ { proxy_pass http://UPSTREAM/_matrix/; }`, decoded},
	{"the decoded path as a variable", `location / { proxy_pass http://UPSTREAM$uri; }`, decoded},
	{"a rewrite rule", `location / { rewrite ^/(.*)$ /$1 break; proxy_pass http://UPSTREAM; }`, decoded},
	{"the front cut off", `location /_matrix/ { proxy_pass http://UPSTREAM/; }`,
		rewritten + `"/_matrix" was cut off its front, and it was decoded`},
	{"more of the front cut off", `location /_matrix/federation/ { proxy_pass http://UPSTREAM/; }`,
		rewritten + `"/_matrix/federation" was cut off its front, and it was decoded`},
	{"cut off by a rewrite rule", `location / { rewrite ^/_matrix/federation(/v2/.*)$ $1 break; proxy_pass http://UPSTREAM; }`,
		rewritten + `"/_matrix/federation" was cut off its front, and it was decoded`},
	{"a path in front", `location / { proxy_pass http://UPSTREAM/hs/; }`,
		rewritten + `"/hs" was put in front, and it was decoded`},
}

// host is what tells the server blocks of one nginx apart.
func (p *proxied) host() string {
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c
		}
		return '-'
	}, p.name) + ".test"
}

// TestNginx has a real nginx in front of a Receiver. Where its proxy_pass is right, invites
// are accepted; where it is wrong, they are refused, and the hint says what is wrong.
func TestNginx(t *testing.T) {
	signer := plainSigner(t, "a.test")
	keys := fedinvite.KeyMap{}
	keys.Add(signer)

	// Every search may be made, however fast the requests follow each other.
	var minutes atomic.Int64
	hints := xmatrix.NewHints(func() time.Time { return time.Now().Add(time.Duration(minutes.Add(1)) * time.Minute) })
	verifier := xmatrix.Verifier{Keys: keys, Now: time.Now, Hints: hints}

	outcomes := make(chan error, 1)
	receiver := newNginxReceiver(t, verifier, outcomes)
	anything := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := verify(verifier, w, r)
		outcomes <- err
		if err != nil {
			fedinvite.WriteError(w, err)
		}
	})
	// send has an upstream answer one request that passed through nginx.
	send := func(t *testing.T, address, host, target string, body []byte) (status int, outcome error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+address+target, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := xmatrix.Sign(t.Context(), req, body, "us.test", signer); err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK && strings.Contains(string(text), "rewritten") {
			t.Errorf("the peer was told: %s", text)
		}
		select {
		case outcome = <-outcomes:
			return res.StatusCode, outcome
		default:
			t.Fatalf("the request did not arrive: %s", text)
			return 0, nil
		}
	}

	// The Receiver sees what has the path of an invite.
	t.Run("receiver", func(t *testing.T) {
		address := startNginx(t, receiver)
		target, body := nginxInvite(t, signer)
		for _, p := range proxies {
			t.Run(p.name, func(t *testing.T) {
				status, err := send(t, address, p.host(), target, body)
				switch {
				case p.fault == "":
					if status != http.StatusOK || err != nil {
						t.Errorf("answer %d, %v; want 200", status, err)
					}
				case p.fault == decoded:
					if status != http.StatusUnauthorized {
						t.Errorf("answer %d, want 401", status)
					}
					wantFault(t, err, target, p.fault)
				case status != http.StatusNotFound: // this is no path of an invite
					t.Errorf("answer %d, want 404", status)
				}
			})
		}
	})

	// A handler for all paths, as authors have it for other endpoints, sees the rest too.
	// The event IDs are ones of room version 3, with slashes.
	t.Run("any path", func(t *testing.T) {
		address := startNginx(t, anything)
		try := func(t *testing.T, p proxied, target string) {
			t.Helper()
			status, err := send(t, address, p.host(), target, []byte(`{"a":"b"}`))
			if p.fault == "" {
				if status != http.StatusOK || err != nil {
					t.Errorf("answer %d, %v; want 200", status, err)
				}
				return
			}
			if status != http.StatusUnauthorized {
				t.Errorf("answer %d, want 401", status)
			}
			wantFault(t, err, target, p.fault)
		}
		for _, p := range proxies {
			t.Run(p.name, func(t *testing.T) {
				try(t, p, "/_matrix/federation/v2/invite/%21room:a.test/$ab%2Fcd+ef")       // from Go
				try(t, p, "/_matrix/federation/v2/invite/%21room%3Aa.test/%24ab%2Fcd%2Bef") // from Synapse
				if p.fault == "" || p.fault == decoded {                                    // nginx makes one slash of two
					try(t, p, "/_matrix/federation/v2/invite/%21room:a.test/$ab%2Fcd%2F%2Fef")
				}
			})
		}
	})
}

// wantFault checks what the hint says of a request that was signed for target.
func wantFault(t *testing.T, err error, target, fault string) {
	t.Helper()
	hint, ok := errors.AsType[*xmatrix.HintError](err)
	if !ok {
		t.Fatalf("no hint: %v", err)
	}
	t.Log(hint)
	if hint.Fault != fault || !strings.Contains(hint.Match, fmt.Sprintf("%q", target)) {
		t.Errorf("the fault is %q, the match %s;\nwant %q, and %q", hint.Fault, hint.Match, fault, target)
	}
}

// newNginxReceiver returns the Receiver of us.test, which tells what came of each request.
func newNginxReceiver(t *testing.T, v xmatrix.Verifier, outcomes chan<- error) *fedinvite.Receiver {
	t.Helper()
	ours := plainSigner(t, "us.test")
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return ours, nil },
		Keys:        v.Keys,
		Credentials: v.Credentials,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Done: func(_ context.Context, _ *fedinvite.Delivery, _ *fedinvite.Invite, err error) {
			outcomes <- err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return receiver
}

// verify authenticates a request by v alone.
func verify(v xmatrix.Verifier, w http.ResponseWriter, r *http.Request) error {
	credentials, err := v.Credentials(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return err
	}
	return credentials.Verify(r.Context(), body)
}

// nginxInvite returns the target and the body of an invite for @guest:us.test.
func nginxInvite(t *testing.T, signer fedinvite.Signer) (target string, body []byte) {
	t.Helper()
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	event, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: "!room:a.test", Sender: "@alice:a.test", Invitee: "@guest:us.test", Depth: 2, Time: time.Now(),
	}, rules, signer)
	if err != nil {
		t.Fatal(err)
	}
	body, err = fedinvite.Request{RoomVersion: fedinvite.RoomV11, Event: event.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		t.Fatal(err)
	}
	return "/_matrix/federation/v2/invite/" + url.PathEscape(event.RoomID()) + "/" + url.PathEscape(event.ID()), body
}

// plainSigner returns a signer of its own for a server.
func plainSigner(t *testing.T, name fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := fedinvite.NewSigner(name, "ed25519:1", key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// startNginx runs nginx in front of h, with a server block for each of the proxies, and
// returns its address. It is stopped when the test ends.
func startNginx(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	upstream := httptest.NewServer(h)
	t.Cleanup(upstream.Close)
	dir := t.TempDir()
	address = freeAddress(t)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(nginxConfig(dir, address, upstream.Listener.Addr().String())), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, cancel := command(t.Context(), nginxPath(t), "-p", dir, "-c", config, "-e", "stderr")
	p := start(t, dir, "nginx", cmd, cancel)
	p.awaitReady(t.Context(), t, readyTimeout, func(ctx context.Context) error {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return address
}

// nginxPath finds nginx, which is often where only root looks.
func nginxPath(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("nginx is not installed; Debian has it in the package nginx-light")
	return ""
}

// nginxConfig is a configuration that writes nowhere but to dir and standard error.
func nginxConfig(dir, address, upstream string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("daemon off;")
	if os.Geteuid() == 0 {
		line("user root;") // else its worker could not enter dir
	}
	line("worker_processes 1;")
	line("pid %s/nginx.pid;", dir)
	line("error_log stderr;")
	line("events { worker_connections 64; }")
	line("http {")
	line("access_log off;")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		line("%s_temp_path %s/%s;", kind, dir, kind)
	}
	for _, p := range proxies {
		line("server { listen %s; server_name %s; %s }", address, p.host(), strings.ReplaceAll(p.config, "UPSTREAM", upstream))
	}
	line("}")
	return b.String()
}

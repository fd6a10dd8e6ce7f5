package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// site is where the servers of a test run: one certificate authority and its files.
type site struct {
	authority        *authority
	ca, cert, tlsKey string
	client           *http.Client // trusts the authority
	cancel           []func()     // of the servers that run; ending takes each a second
}

func newSite(t testing.TB) *site {
	t.Helper()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.serverCertificate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &site{
		authority: a,
		ca:        writePEM(t, "CERTIFICATE", a.cert.Raw),
		cert:      writePEM(t, "CERTIFICATE", pair.Certificate[0]),
		tlsKey:    writePEM(t, "PRIVATE KEY", key),
		client:    &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
}

func writePEM(t testing.TB, kind string, der []byte) string {
	t.Helper()
	return writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// server is a running serve.
type server struct {
	*site
	name    string // also its address
	keyFile string
	args    []string // with which it serves
	lines   chan outcome
	stop    func() (status int)
}

// serveArgs makes a server's key and name, and the arguments with which it serves,
// and further ones.
func (st *site) serveArgs(t testing.TB, further ...string) (s *server, args []string) {
	t.Helper()
	s = &server{site: st, name: freeAddress(t), keyFile: writeFile(t, succeed(t, "", "keygen"))}
	args = []string{"serve", "-server-name", s.name, "-listen", s.name, "-key", s.keyFile,
		"-tls-cert", st.cert, "-tls-key", st.tlsKey, "-ca", st.ca, "-allow", "loopback"}
	s.args = append(args, further...)
	return s, s.args
}

// serve starts a server in this process and waits until it is ready.
func (st *site) serve(t testing.TB, further ...string) *server {
	t.Helper()
	s, args := st.serveArgs(t, further...)
	s.start(t, args)
	return s
}

// start runs serve and waits until it is ready.
func (s *server) start(t testing.TB, args []string) {
	t.Helper()
	s.lines = make(chan outcome, 10)
	ctx, cancel := context.WithCancel(context.Background())
	out, lines := io.Pipe()
	messages, stderr := io.Pipe()
	var running sync.WaitGroup
	status := -1
	running.Go(func() {
		status = run(ctx, args, streams{strings.NewReader(""), lines, stderr})
		_ = lines.Close()
		_ = stderr.Close()
	})
	running.Go(func() { // every line on standard output is one outcome
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			var o outcome
			if err := json.Unmarshal(scanner.Bytes(), &o); err != nil {
				o.Reason = scanner.Text()
			}
			s.lines <- o
		}
		close(s.lines)
	})
	s.stop = sync.OnceValue(func() int {
		cancel()
		running.Wait()
		return status
	})
	s.cancel = append(s.cancel, cancel)
	t.Cleanup(func() {
		s.stopAll()
		s.stop()
	})
	awaitReady(t, messages)
}

// stopAll has all servers end at the same time.
func (st *site) stopAll() {
	for _, cancel := range st.cancel {
		cancel()
	}
}

// awaitReady waits for the message that a server is ready, and discards later ones.
func awaitReady(t testing.TB, messages io.Reader) {
	t.Helper()
	r := bufio.NewReader(messages)
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, " is ready on ") {
		t.Fatalf("not ready: %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// invite runs the invite of one of the server's users.
func (s *server) invite(t testing.TB, version, sender, invitee string) result {
	t.Helper()
	return runCommand(t.Context(), "", "invite", "-server-name", s.name, "-key", s.keyFile, "-room-version", version,
		"-sender", sender, "-to", invitee, "-room-name", "Tea", "-ca", s.ca, "-allow", "loopback")
}

func (s *server) user(localpart string) string { return "@" + localpart + ":" + s.name }

// next returns the next line that the server prints.
func (s *server) next(t testing.TB) outcome {
	t.Helper()
	select {
	case o := <-s.lines:
		return o
	case <-time.After(10 * time.Second):
		t.Fatal("serve prints nothing")
	}
	panic("unreachable")
}

// request makes a request and returns status and body.
func (s *server) request(t testing.TB, method, path string) (status int, contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.name+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(text)
}

func TestInviteAndServe(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one := st.serve(t)
	two := st.serve(t, "-block", one.user("mallory"))
	for _, version := range []string{"1", "6", "12"} {
		t.Run("v"+version, func(t *testing.T) {
			r := one.invite(t, version, one.user("alice"), two.user("bob"))
			if r.status != statusOK || r.err != "" || strings.Count(r.out, "\n") != 1 {
				t.Fatalf("%+v", r)
			}
			rules, err := fedinvite.RoomVersion(version).Rules()
			if err != nil {
				t.Fatal(err)
			}
			e, err := fedinvite.ParseEvent([]byte(r.out), rules)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Verify(t.Context(), keysOf(t, one, two), fedinvite.ServerName(two.name)); err != nil {
				t.Error(err)
			}
			line := two.next(t)
			var name string
			for _, raw := range line.RoomState {
				var entry map[string]any
				if err := json.Unmarshal(raw, &entry); err != nil {
					t.Fatal(err)
				}
				if len(entry) != 4 {
					t.Errorf("not in the form for clients: %s", raw)
				}
				if entry["type"] == "m.room.name" {
					name, _ = entry["content"].(map[string]any)["name"].(string)
				}
			}
			if name != "Tea" || len(line.RoomState) != 4 || len(line.Warnings) != 0 {
				t.Errorf("room state %s, warnings %q", line.RoomState, line.Warnings)
			}
			line.RoomState, line.Warnings = nil, nil
			diff(t, outcome{
				Event: eventInvited, Origin: fedinvite.ServerName(one.name), Sender: one.user("alice"), Invitee: two.user("bob"),
				RoomID: e.RoomID(), RoomVersion: rules.Version, EventID: e.ID(),
			}, line)
		})
	}
	t.Run("blocked user", func(t *testing.T) {
		r := one.invite(t, "12", one.user("mallory"), two.user("bob"))
		want := result{statusRefused, "", "fedinvite: " + two.name + ` answered 403 M_FORBIDDEN: "This invite is not allowed."` + "\n"}
		if r != want {
			t.Errorf("got  %+v\nwant %+v", r, want)
		}
		line := two.next(t)
		if line.Event != eventRefused || line.Errcode != fedinvite.CodeForbidden || line.Reason == "" || line.RoomID == "" || line.Sender != one.user("mallory") || line.RoomState != nil {
			t.Errorf("%+v", line)
		}
	})
	one.stopAll()
	for _, s := range []*server{one, two} {
		if status := s.stop(); status != statusOK {
			t.Errorf("serve ended with status %d", status)
		}
		for line := range s.lines {
			t.Errorf("one line too many: %+v", line)
		}
	}
}

// keysOf fetches what servers publish.
func keysOf(t testing.TB, servers ...*server) fedinvite.KeyMap {
	t.Helper()
	keys := make(fedinvite.KeyMap)
	for _, s := range servers {
		signer, err := readSigner(fedinvite.ServerName(s.name), s.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		keys.Add(signer)
		_, _, document := s.request(t, "GET", keysPath)
		if err := fedinvite.VerifyJSON(t.Context(), []byte(document), signer.ServerName(), keys, time.Time{}); err != nil {
			t.Error(err)
		}
	}
	return keys
}

func TestServeBlocksServers(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one := st.serve(t)
	two := st.serve(t, "-block", one.name)
	if r := one.invite(t, "11", one.user("alice"), two.user("bob")); r.status != statusRefused || !strings.Contains(r.err, "403 M_FORBIDDEN") {
		t.Errorf("%+v", r)
	}
	line := two.next(t)
	if line.Errcode != fedinvite.CodeForbidden || string(line.Origin) != one.name || line.RoomID == "" || line.EventID == "" {
		t.Errorf("%+v", line)
	}
}

func TestBlockPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"*": true, "a.example": true, "*.example": true, "a.example:8448": true, "1.2.3.?": true, "[::1]": true,
		"@a:a.example": true, "@spam*:*": true, "@*:*.example": true,
		"": false, "a b": false, "a_*": false, "@a": false, "@*": false, "@a:b c": false,
	} {
		if err := checkPattern(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

// What is no invite gets an answer and no line.
func TestServeOtherRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t).serve(t)
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", keysPath, 200, `"server_name":"` + s.name + `"`},
		{"GET", keysPath + "/ed25519:x", 200, `"verify_keys"`},
		{"GET", versionPath, 200, `"name":"fedinvite"`},
		{"POST", keysPath, 405, `"M_UNRECOGNIZED"`},
		{"POST", versionPath, 405, `"M_UNRECOGNIZED"`},
		{"GET", "/", 404, `"M_UNRECOGNIZED"`},
		{"GET", "/_matrix/federation/v1/query/profile?user_id=@a:b", 404, `"M_UNRECOGNIZED"`},
		{"GET", "/_matrix//key/v2/server", 404, `"M_UNRECOGNIZED"`},
		{"GET", "/_matrix/federation/v2/invite/!r:a/$e", 405, `"M_UNRECOGNIZED"`},
		{"PUT", "/_matrix/federation/v2/invite/!r:a", 404, `"M_UNRECOGNIZED"`},
		{"GET", makeLeavePath + "!r:a/@u:b", 401, `"M_UNAUTHORIZED"`},
		{"PUT", sendLeavePath + "!r:a/$e", 401, `"M_UNAUTHORIZED"`},
		{"PUT", sendLeaveV1Path + "!r:a/$e", 401, `"M_UNAUTHORIZED"`},
		{"PUT", transactionPath + "1", 401, `"M_UNAUTHORIZED"`},
		{"PUT", makeLeavePath + "!r:a/@u:b", 405, `"M_UNRECOGNIZED"`},
		{"PUT", makeLeavePath + "!r:a", 404, `"M_UNRECOGNIZED"`},
		{"GET", transactionPath + "1", 405, `"M_UNRECOGNIZED"`},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			status, contentType, body := s.request(t, c.method, c.path)
			if status != c.status || contentType != "application/json" || !strings.Contains(body, c.body) || !json.Valid([]byte(body)) {
				t.Errorf("%d %s: %s", status, contentType, body)
			}
		})
	}
	if status, _, _ := s.request(t, "PUT", "/_matrix/federation/v2/invite/!r:a/$e"); status != 401 {
		t.Errorf("an invite without Authorization: %d", status)
	}
	if line := s.next(t); line.Errcode != fedinvite.CodeUnauthorized || line.RoomID != "!r:a" || line.EventID != "$e" {
		t.Errorf("%+v", line)
	}
	s.stop()
	for line := range s.lines {
		t.Errorf("a line about what is no invite: %+v", line)
	}
}

// Requests that are under way when the server is to end are answered.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.serverCertificate()
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan string, 1)
	go func() { served <- serve(ctx, l, newServer(slow, cert, io.Discard)) }()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots}}}
	go func() {
		res, err := client.Get("https://" + l.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		answered <- string(body)
	}()
	<-started
	cancel()
	select {
	case err := <-served:
		t.Errorf("ended under a request: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if got := <-answered; got != "done" {
		t.Errorf("the answer is %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestInviteRefusals(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one, _ := st.serveArgs(t) // does not run
	two := st.serve(t)
	if r := one.invite(t, "11", one.user("alice"), two.user("bob")); r.status != statusRefused || strings.Count(r.err, "\n") != 1 ||
		!strings.Contains(r.err, " answered 503 M_UNKNOWN") {
		t.Errorf("our keys cannot be had: %+v", r)
	}
	if r := two.invite(t, "11", two.user("bob"), one.user("alice")); r.status != statusRefused || !strings.Contains(r.err, "cannot be reached") {
		t.Errorf("the other server does not run: %+v", r)
	}
	untrusted := *two
	untrusted.ca = writePEM(t, "CERTIFICATE", nil)
	for _, c := range []struct {
		name   string
		result result
		status int
		err    string
	}{
		{"foreign sender", one.invite(t, "11", two.user("alice"), two.user("bob")), statusUsage, "-sender must be a user of -server-name"},
		{"local invitee", one.invite(t, "11", one.user("alice"), one.user("bob")), statusUsage, "-to must be a user of another server"},
		{"no user", one.invite(t, "11", "alice", two.user("bob")), statusUsage, `invalid value "alice" for flag -sender`},
		{"no certificate", untrusted.invite(t, "11", two.user("bob"), one.user("alice")), statusRefused, "no certificate in it"},
	} {
		if c.result.status != c.status || !strings.Contains(c.result.err, c.err) {
			t.Errorf("%s: %+v", c.name, c.result)
		}
	}
}

func TestServeRefusesToStart(t *testing.T) {
	s, args := newSite(t).serveArgs(t)
	change := func(option, value string) []string {
		changed := append([]string(nil), args...)
		for i := range changed {
			if changed[i] == option {
				changed[i+1] = value
			}
		}
		return changed
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		args   []string
		status int
		err    string
	}{
		{args[:len(args)-6], statusUsage, "-tls-key is required"},
		{change("-allow", "10.0.0.0/33"), statusUsage, `invalid value "10.0.0.0/33" for flag -allow`},
		{append(change("", ""), "-block", "@a"), statusUsage, `invalid value "@a" for flag -block`},
		{append(change("", ""), "-block", "a b"), statusUsage, `invalid value "a b" for flag -block`},
		{append(change("", ""), "file"), statusUsage, `unexpected argument "file"`},
		{change("-server-name", "a_b"), statusUsage, `invalid value "a_b" for flag -server-name`},
		{change("-key", missing), statusRefused, "missing: "},
		{change("-key", s.ca), statusRefused, "unusable key"},
		{change("-tls-cert", s.tlsKey), statusRefused, "failed to find certificate"},
		{change("-ca", missing), statusRefused, "missing: "},
		{change("-listen", "256.0.0.1:1"), statusRefused, "256.0.0.1"},
	} {
		r := runCommand(t.Context(), "", c.args...)
		if r.status != c.status || r.out != "" || !strings.Contains(r.err, c.err) {
			t.Errorf("%+v, want %q", r, c.err)
		}
	}
	if _, err := os.Stat(s.keyFile); err != nil {
		t.Error(err)
	}
}

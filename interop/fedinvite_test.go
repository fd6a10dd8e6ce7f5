package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// executableEnv names the environment variable that has the test use a
// fedinvite command that is already built.
const executableEnv = "FEDINVITE_COMMAND"

// inviteTimeout bounds one run of `fedinvite invite`, and how long `fedinvite
// serve` may take to print what became of an invite.
const inviteTimeout = 30 * time.Second

// commandServer is a running `fedinvite serve` and what it takes to send invites in
// its name.
type commandServer struct {
	*process
	name       string // server name, which is also its address
	executable string
	keyFile    string
	store      string // directory
	ca         *authority
	outcomes   outcomes
}

// outcome is the line that `fedinvite serve` prints for one received invite, or for
// the end of one.
type outcome struct {
	Event       string          `json:"event"`
	Origin      string          `json:"origin"`
	Sender      string          `json:"sender"`
	Invitee     string          `json:"invitee"`
	RoomID      string          `json:"room_id"`
	RoomVersion string          `json:"room_version"`
	EventID     string          `json:"event_id"`
	RoomState   json.RawMessage `json:"room_state"`
	Warnings    json.RawMessage `json:"warnings"`
	Errcode     string          `json:"errcode"`
	Reason      string          `json:"reason"`
}

// buildFedinvite builds the command from the module around this one.
func buildFedinvite(ctx context.Context, t *testing.T, dir string) (executable string) {
	t.Helper()
	if executable = os.Getenv(executableEnv); executable != "" {
		return executable
	}
	executable = filepath.Join(dir, "fedinvite")
	run(ctx, t, "go", "-C", "..", "build", "-o", executable, "./cmd/fedinvite")
	return executable
}

// startFedinvite runs `fedinvite serve` under a fresh name with a fresh key,
// refusing the invites of the blocked servers and users.
func startFedinvite(ctx context.Context, t *testing.T, executable, dir string, ca *authority, blocked ...string) *commandServer {
	t.Helper()
	f := &commandServer{
		name:       freeAddress(t),
		executable: executable,
		keyFile:    filepath.Join(dir, "fedinvite.signing.key"),
		store:      filepath.Join(dir, "fedinvite.store"),
		ca:         ca,
		outcomes:   outcomes{received: make(chan outcome, 64)},
	}
	key, err := exec.CommandContext(ctx, executable, "keygen").Output()
	if err != nil {
		t.Fatalf("fedinvite keygen: %v", err)
	}
	if err := os.WriteFile(f.keyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, tlsKeyFile := ca.issue(t, "fedinvite")
	args := []string{
		"serve", "-server-name", f.name, "-listen", f.name, "-key", f.keyFile,
		"-tls-cert", certFile, "-tls-key", tlsKeyFile, "-ca", ca.certFile, "-allow", "loopback",
		"-store", f.store,
	}
	for _, name := range blocked {
		args = append(args, "-block", name)
	}
	cmd, cancel := command(ctx, executable, args...)
	cmd.Stdout = &f.outcomes
	f.process = start(t, dir, "fedinvite", cmd, cancel)
	f.awaitReady(ctx, t, readyTimeout, func(ctx context.Context) error {
		_, err := fetchKeys(ctx, ca, f.name)
		return err
	})
	return f
}

// outcomes is the standard output of `fedinvite serve`, decoded line by line.
type outcomes struct {
	received chan outcome
	partial  []byte // the beginning of a line
}

// Write passes the finished lines on. A line that is not as promised becomes an
// outcome that no check accepts.
func (o *outcomes) Write(text []byte) (int, error) {
	o.partial = append(o.partial, text...)
	for {
		line, rest, ok := bytes.Cut(o.partial, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		var next outcome
		if err := json.Unmarshal(line, &next); err != nil {
			next = outcome{Errcode: "unreadable line", Reason: string(line)}
		}
		o.received <- next
		o.partial = rest
	}
}

// awaitOutcome waits for the line about what has just happened to the one invite into
// a room. Invites come one at a time, so any other line is a fault.
func (f *commandServer) awaitOutcome(t *testing.T, roomID string) outcome {
	t.Helper()
	select {
	case o := <-f.outcomes.received:
		if o.RoomID != roomID {
			t.Fatalf("serve printed a line about another invite than that into %s: %+v", roomID, o)
		}
		return o
	case <-f.ended:
		t.Fatalf("serve ended by itself: %v", f.cmd.ProcessState)
	case <-time.After(inviteTimeout):
		t.Fatalf("serve printed nothing about the invite into %s", roomID)
	}
	panic("unreachable")
}

// clientState decodes the room state of an accepted invite and insists on the
// client form: the four members of stripped state and no others.
func (o outcome) clientState() ([]strippedEvent, error) {
	decoder := json.NewDecoder(bytes.NewReader(o.RoomState))
	decoder.DisallowUnknownFields()
	var state []strippedEvent
	if err := decoder.Decode(&state); err != nil {
		return nil, fmt.Errorf("room_state is not in the client form: %w\n%s", err, o.RoomState)
	}
	return state, nil
}

// inviter is the user of ours who invites.
func (f *commandServer) inviter() string { return "@inviter:" + f.name }

// invite runs `fedinvite invite` in the server's name, and returns the finished event.
func (f *commandServer) invite(ctx context.Context, version, name, invitee string) (finished []byte, err error) {
	finished, _, err = f.act(ctx, "invite",
		"-room-version", version, "-sender", f.inviter(), "-to", invitee, "-room-name", name)
	return finished, err
}

// decline runs `fedinvite decline`, and returns the leave and what the command tells
// about it on standard error.
func (f *commandServer) decline(ctx context.Context, roomID, userID string) (leave []byte, told string, err error) {
	return f.act(ctx, "decline", "-room", roomID, "-user", userID, "-reason", "No time.")
}

// rescind runs `fedinvite rescind`, and returns the leave.
func (f *commandServer) rescind(ctx context.Context, roomID, invitee string) (leave []byte, err error) {
	leave, _, err = f.act(ctx, "rescind", "-room", roomID, "-sender", f.inviter(), "-to", invitee)
	return leave, err
}

// act runs a command in the server's name; its failure is a [*commandError].
func (f *commandServer) act(ctx context.Context, name string, args ...string) (output []byte, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.executable, append([]string{name,
		"-server-name", f.name, "-key", f.keyFile, "-ca", f.ca.certFile, "-allow", "loopback", "-store", f.store}, args...)...)
	var told strings.Builder
	cmd.Stderr = &told
	output, err = cmd.Output()
	if failure, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, "", &commandError{name: name, status: failure.ExitCode(), stderr: told.String()}
	}
	return output, told.String(), err
}

// commandError is the failure of a command.
type commandError struct {
	name   string
	status int
	stderr string
}

func (e *commandError) Error() string {
	return fmt.Sprintf("fedinvite %s: status %d: %s", e.name, e.status, e.stderr)
}

// orderly tells whether the command failed as it should: with status 1 and one
// line on standard error that begins with its name.
func (e *commandError) orderly() bool {
	return e.status == 1 && strings.HasPrefix(e.stderr, "fedinvite: ") &&
		strings.HasSuffix(e.stderr, "\n") && strings.Count(e.stderr, "\n") == 1
}

// drain stops `fedinvite serve` and checks that it ended in good order and left
// no line behind.
func (f *commandServer) drain(t *testing.T) {
	t.Helper()
	f.stop()
	if !f.cmd.ProcessState.Success() {
		t.Errorf("after SIGTERM, serve ended with: %v", f.cmd.ProcessState)
	}
	select {
	case o := <-f.outcomes.received:
		t.Errorf("serve printed one line too many: %+v", o)
	default:
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// commandEnv makes the test binary be the command, so that tests can run it as a
// process of its own.
const commandEnv = "FEDINVITE_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process returns the command as a process that is yet to be started.
func process(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), executable, args...)
	cmd.Env = append(os.Environ(), commandEnv+"=1")
	return cmd
}

// result is what one run of the command leaves behind.
type result struct {
	status   int
	out, err string
}

// runCommand runs one command line in this process.
func runCommand(ctx context.Context, stdin string, args ...string) result {
	var out, err bytes.Buffer
	status := run(ctx, args, streams{strings.NewReader(stdin), &out, &err})
	return result{status, out.String(), err.String()}
}

// succeed runs a command line that must end with status 0 and say nothing on
// standard error, and returns its output.
func succeed(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	r := runCommand(t.Context(), stdin, args...)
	if r.status != statusOK || r.err != "" {
		t.Fatalf("fedinvite %s: status %d: %s", strings.Join(args, " "), r.status, r.err)
	}
	return r.out
}

// writeFile writes a file for the command to read and returns its name.
func writeFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	// The key of the specification's examples.
	testKey       = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n"
	testPublicKey = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
)

func TestUsageErrors(t *testing.T) {
	key := writeFile(t, testKey)
	for _, c := range []struct {
		args []string
		err  string
	}{
		{[]string{"frobnicate"}, `unknown command "frobnicate"`},
		{[]string{"help", "frobnicate"}, `unknown command "frobnicate"`},
		{[]string{"canonical", "-colour"}, "flag provided but not defined: -colour"},
		{[]string{"canonical", "a", "b"}, `unexpected argument "b"; options come first`},
		{[]string{"event"}, "-room-version is required"},
		{[]string{"event", "-room-version", "99"}, `invalid value "99" for flag -room-version: unknown room version: "99"`},
		{[]string{"event", "-room-version", ""}, `invalid value "" for flag -room-version: unknown room version: ""`},
		{[]string{"sign", "-room-version", "1", "-server", "a b", "-key", key}, `invalid value "a b" for flag -server: malformed identifier: server name "a b"`},
		{[]string{"sign", "-room-version", "1", "-server", "a", "-key", ""}, `invalid value "" for flag -key: it is empty`},
		{[]string{"event", "-room-version", "1", "file", "-room-version", "1"}, `unexpected argument "-room-version"; options come first`},
		{[]string{"verify", "-room-version", "1"}, "-keys is required"},
		{[]string{"keygen", "-public", key}, "-public and -server go together"},
		{[]string{"keygen", "-public", key, "-server", "a b"}, `malformed identifier: server name "a b"`},
		{[]string{"resolve"}, "SERVER is missing"},
		{[]string{"resolve", "a b"}, `malformed identifier: server name "a b"`},
		{[]string{"resolve", "a", "b"}, `unexpected argument "b"; options come first`},
		{[]string{"resolve", "-dns", "1.1.1.1", "a"}, `invalid value "1.1.1.1" for flag -dns: not of the form HOST:PORT`},
		{[]string{"keys"}, "SERVER is missing"},
		{[]string{"keys", "-notary", "n.example", "a"}, "-notary and -notary-key go together"},
		{[]string{"keys", "-notary-key", "ed25519:1 " + testPublicKey, "a"}, "-notary and -notary-key go together"},
		{[]string{"keys", "-notary-key", testPublicKey, "a"}, `invalid value "` + testPublicKey + `" for flag -notary-key: not of the form "ed25519:ID BASE64"`},
		{[]string{"keys", "-notary", "n.example", "-notary-key", "ed25519:1 AA", "a"}, `keyring: notary "n.example": key "ed25519:1": unusable key: public key of 1 bytes`},
		{[]string{"keys", "-notary-key", "n " + testPublicKey, "-notary", "n.example", "a"}, `keyring: notary "n.example": malformed identifier: key ID "n"`},
		{[]string{"keygen", "now"}, `unexpected argument "now"; options come first`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := runCommand(t.Context(), "", c.args...)
			first, rest, _ := strings.Cut(r.err, "\n")
			if r.status != statusUsage || r.out != "" || first != "fedinvite: "+c.err {
				t.Errorf("got %+v, want status 2 and %q", r, c.err)
			}
			if !strings.HasPrefix(rest, `Run "fedinvite help`) {
				t.Errorf("no way to more help in %q", r.err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	key := writeFile(t, testKey)
	missing := filepath.Join(t.TempDir(), "missing")
	noKey := writeFile(t, "ed25519 1 secretsecretsecret\n")
	object := writeFile(t, "{}")
	for _, c := range []struct {
		name, stdin string
		args        []string
		err         string
	}{
		{"not JSON", `{"a":`, []string{"canonical"}, "not JSON"},
		{"nothing", ``, []string{"canonical", "-"}, "not JSON"},
		{"duplicate key", `{"a":1,"\u0061":2}`, []string{"canonical"}, "duplicate key"},
		{"fraction", `[1.5]`, []string{"canonical"}, "number not allowed"},
		{"missing: ", ``, []string{"canonical", missing}, "missing: "},
		{"no event", `{}`, []string{"event", "-room-version", "11"}, "type is missing"},
		{"sign an array", `[]`, []string{"sign", "-room-version", "1", "-server", "a", "-key", key}, "not an object"},
		{"bad key file", `{}`, []string{"sign", "-room-version", "1", "-server", "a", "-key", noKey}, "unusable key"},
		{"no key file", `{}`, []string{"sign", "-room-version", "1", "-server", "a", "-key", missing}, "missing: "},
		{"verify no event", `{}`, []string{"verify", "-room-version", "1", "-keys", object}, "type is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runCommand(t.Context(), c.stdin, c.args...)
			if r.status != statusRefused || r.out != "" {
				t.Errorf("got %+v, want status 1 and no output", r)
			}
			if !strings.HasPrefix(r.err, "fedinvite: ") || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, c.err) {
				t.Errorf("got %q, want one line with %q", r.err, c.err)
			}
			if strings.Contains(r.err, "secretsecret") {
				t.Errorf("a key in %q", r.err)
			}
		})
	}
}

func TestInputLimit(t *testing.T) {
	r := runCommand(t.Context(), strings.Repeat(" ", maxInput)+"1", "canonical")
	if want := "fedinvite: reading standard input: more than 16777216 bytes\n"; r.status != statusRefused || r.err != want {
		t.Errorf("%+v, want %q", r, want)
	}
	file := writeFile(t, "12345")
	if data, err := readFile(file, 5); err != nil || string(data) != "12345" {
		t.Errorf("at the limit: %q, %v", data, err)
	}
	if data, err := readFile(file, 4); err == nil || data != nil {
		t.Errorf("one byte more: %q, %v", data, err)
	}
}

// silent is standard input on which nothing ever comes.
type silent struct{}

func (silent) Read([]byte) (int, error) { select {} }

func TestInterruptedWhileReading(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	var out, err bytes.Buffer
	status := run(ctx, []string{"canonical"}, streams{silent{}, &out, &err})
	if status != statusRefused || err.String() != "fedinvite: interrupt signal received\n" {
		t.Errorf("status %d, %q", status, err.String())
	}
}

func TestHelp(t *testing.T) {
	overview := succeed(t, "", "help")
	if r := runCommand(t.Context(), ""); r.status != statusUsage || r.err != overview {
		t.Errorf("without arguments: %+v", r)
	}
	for _, flag := range []string{"-h", "-help", "--help"} {
		if got := succeed(t, "", flag); got != overview {
			t.Errorf("%s prints %q", flag, got)
		}
	}
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(overview, "    "+c.name+" ") || !strings.Contains(overview, c.summary) {
				t.Error("not in the overview")
			}
			text := succeed(t, "", "help", c.name)
			if !strings.HasPrefix(text, "Usage:\n    fedinvite "+c.name) || !strings.Contains(text, "\nExample") {
				t.Errorf("no usage and example in:\n%s", text)
			}
			if got := succeed(t, "", c.name, "-h"); got != text {
				t.Errorf("%s -h prints %q", c.name, got)
			}
			for _, option := range regexp.MustCompile(`(?m)^    -([a-z-]+)`).FindAllStringSubmatch(text, -1) {
				r := runCommand(t.Context(), "", c.name, "-"+option[1])
				if strings.Contains(r.err, "not defined") || r.status != statusUsage && option[1] != "legacy" {
					t.Errorf("there is no option %s: %+v", option[1], r)
				}
			}
			for line := range strings.Lines(text) {
				if n := len([]rune(line)); n > 85 {
					t.Errorf("line of %d characters: %s", n, line)
				}
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	err := errors.Join(errors.New("a\x1b[2Jb\r"), errors.New("ünïcode"))
	if got, want := oneLine(err.Error()), "a\uFFFD[2Jb\uFFFD; ünïcode"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProcess(t *testing.T) {
	cmd := process(t, "canonical")
	cmd.Stdin = strings.NewReader(" { } ")
	out, err := cmd.Output()
	if err != nil || string(out) != "{}" {
		t.Errorf("got %q, %v", out, err)
	}
	failure, ok := errors.AsType[*exec.ExitError](process(t, "event").Run())
	if !ok || failure.ExitCode() != statusUsage {
		t.Errorf("wrong usage ends with %v", failure)
	}
}

// diff reports how got differs from want.
func diff(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

package interop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// synapseVersion is the release under test, as the Python Package Index names it.
const synapseVersion = "1.163.2"

// venvEnv names the environment variable that overrides where the virtual
// environment lives.
const venvEnv = "FEDINVITE_SYNAPSE_VENV"

// installTimeout bounds one step of the installation.
const installTimeout = 10 * time.Minute

// venv is a Python virtual environment with Synapse installed in it.
type venv string

// python is the environment's interpreter.
func (v venv) python() string { return filepath.Join(string(v), "bin", "python") }

// installSynapse returns a virtual environment that holds the pinned Synapse,
// installing it if an earlier run has not. Nothing is ever removed: an
// environment beyond repair fails the test and is named in the message.
func installSynapse(ctx context.Context, t *testing.T) venv {
	t.Helper()
	dir := os.Getenv(venvEnv)
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("no place for Synapse (set %s): %v", venvEnv, err)
		}
		dir = filepath.Join(cache, "fedinvite-interop", "venv-"+synapseVersion)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	v := venv(dir)
	defer v.lock(t)()

	if v.complete() && v.healthy(ctx) {
		t.Logf("Synapse %s: found in %s", synapseVersion, dir)
		return v
	}
	start := time.Now()
	run(ctx, t, "python3", "-m", "venv", dir)
	run(ctx, t, v.python(), "-m", "pip", "install", "--disable-pip-version-check",
		"matrix-synapse=="+synapseVersion)
	if !v.healthy(ctx) {
		t.Fatalf("%s does not hold a working Synapse %s; remove it and try again", dir, synapseVersion)
	}
	if err := os.WriteFile(v.marker(), []byte(synapseVersion+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("Synapse %s: installed in %s within %s", synapseVersion, dir, time.Since(start).Round(time.Second))
	return v
}

// marker is the file that is written once the installation has succeeded.
func (v venv) marker() string { return filepath.Join(string(v), ".fedinvite-interop") }

// complete tells whether the pinned release was once installed to the end.
func (v venv) complete() bool {
	text, err := os.ReadFile(v.marker())
	return err == nil && strings.TrimSpace(string(text)) == synapseVersion
}

// healthy tells whether the interpreter still runs and imports the pinned release.
func (v venv) healthy(ctx context.Context) bool {
	const script = "import synapse.util, synapse.app.homeserver; print(synapse.util.SYNAPSE_VERSION)"
	out, err := exec.CommandContext(ctx, v.python(), "-c", script).Output()
	return err == nil && strings.TrimSpace(string(out)) == synapseVersion
}

// lock keeps two runs from installing into the same directory at once; the
// result releases it.
func (v venv) lock(t *testing.T) (unlock func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(string(v), ".fedinvite-interop.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		t.Fatalf("locking %s: %v", f.Name(), err)
	}
	return func() { _ = f.Close() }
}

// run executes one step of the installation and fails the test with the end of
// its output if the step fails.
func run(ctx context.Context, t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out, 40))
	}
}

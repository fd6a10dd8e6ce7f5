package interop

import (
	"context"
	_ "embed"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// vectorsScript runs the library's test vectors through Synapse's own code.
//
//go:embed vectors.py
var vectorsScript string

// The vectors are right by Synapse's code too, but for what the script lists.
func TestVectors(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	v := installSynapse(ctx, t)
	dir, err := filepath.Abs(filepath.Join("..", "testdata", "vectors"))
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(ctx, v.python(), "-c", vectorsScript, dir).CombinedOutput()
	t.Logf("Synapse %s\n%s", synapseVersion, output)
	if err != nil {
		t.Error(err)
	}
}

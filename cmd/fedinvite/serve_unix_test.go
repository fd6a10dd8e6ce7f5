//go:build unix

package main

import (
	"bytes"
	"syscall"
	"testing"
)

func TestServeSIGTERM(t *testing.T) {
	t.Parallel()
	_, args := newSite(t).serveArgs(t)
	cmd := process(t, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, stderr)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.Len() > 0 {
		t.Errorf("after SIGTERM: %v, output %q", err, out.String())
	}
}

package interop

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const (
	// stopTimeout is how long a server has to end after SIGTERM before it is killed.
	stopTimeout = 20 * time.Second
	// logLines is how much of a server's log a failed test shows.
	logLines = 60
)

// process is a server that the test has started and will stop.
type process struct {
	name    string
	cmd     *exec.Cmd
	stop    func()        // sends SIGTERM and waits for the end; may be called twice
	ended   chan struct{} // closed once the process has ended, by itself or not
	logFile string
}

// start runs cmd, logging its standard error (and its standard output, unless
// the caller has claimed that) to a file in dir. The process is stopped when
// the test ends, and the end of its log is shown if the test has failed.
//
// The command must come from [command], which arranges for SIGTERM.
func start(t *testing.T, dir, name string, cmd *exec.Cmd, cancel context.CancelFunc) *process {
	t.Helper()
	logFile := filepath.Join(dir, name+".log")
	log, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	p := &process{name: name, cmd: cmd, ended: make(chan struct{}), logFile: logFile}
	go func() {
		_ = cmd.Wait() // ProcessState tells all there is to know
		_ = log.Close()
		close(p.ended)
	}()
	p.stop = func() {
		cancel()
		<-p.ended
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			text, _ := os.ReadFile(logFile)
			t.Logf("%s: %v; end of its log:\n%s", name, cmd.ProcessState, tail(text, logLines))
		}
	})
	return p
}

// command prepares a command that is ended by SIGTERM, and by SIGKILL if that
// does not help, as soon as ctx is done or cancel is called.
func command(ctx context.Context, name string, args ...string) (cmd *exec.Cmd, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(ctx)
	cmd = exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	return cmd, cancel
}

// awaitReady calls probe until it succeeds, and fails the test if the process
// ends first or takes longer than limit.
func (p *process) awaitReady(ctx context.Context, t *testing.T, limit time.Duration, probe func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended before it was ready: %v", p.name, p.cmd.ProcessState)
		case <-ctx.Done():
			t.Fatalf("%s is not ready after %s: %v", p.name, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// freeAddress finds a loopback address (host:port) that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// tail returns the last n lines of text.
func tail(text []byte, n int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n-1):], nil)
}

package sqlstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

// A task is what a child process is to do.
type task struct {
	Place  place
	Writer uint64 // writes the records that this number stands for; 0: batches, until it is killed
	From   int    // the number of the first batch
}

// runChild is the main function of a child. It says that it is ready, waits for a line,
// and opens the Store only then, so that all children do so at once.
func runChild(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		return err
	}
	db, err := do.Place.connect()
	if err != nil {
		return err
	}
	defer db.Close()
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	store, err := sqlstore.Open(ctx, db, do.Place.Dialect)
	if err != nil {
		return err
	}
	if do.Writer == 0 {
		return saveBatches(ctx, store, do.From, os.Stdout)
	}
	for part := range slices.Chunk(writerRecords(do.Writer), 20) {
		if err := store.Save(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// writerRecords returns what a writer writes: keys that the others write too.
func writerRecords(writer uint64) []keyring.Record {
	r := rand.New(rand.NewPCG(writer, 0))
	all := make([]keyring.Record, 500)
	for i := range all {
		all[i] = random(r, 10, 10)
	}
	return all
}

// saveBatches saves one batch after the other, until it fails, and says each number
// when Save has returned nil.
func saveBatches(ctx context.Context, store keyring.Store, from int, saved io.Writer) error {
	for n := from; ; n++ {
		if err := store.Save(ctx, batch(n)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(saved, n); err != nil {
			return err
		}
	}
}

func batch(n int) []keyring.Record {
	all := make([]keyring.Record, 40) // two statements at least
	for i := range all {
		all[i] = record(fedinvite.ServerName(fmt.Sprintf("batch%d.example", n)), fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i)))
	}
	return all
}

// A child is a process of this program that does a task.
type child struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

// startChild starts a child, which waits to be told to go on.
func startChild(t *testing.T, do task) *child {
	t.Helper()
	text, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self)}
	c.command.Env = append(os.Environ(), childVariable+"="+string(text))
	c.command.Stderr = os.Stderr
	if c.in, err = c.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // if the test has failed before it waited
		if c.command.ProcessState == nil {
			_ = c.command.Process.Kill()
			_ = c.command.Wait()
		}
	})
	if !c.out.Scan() || c.out.Text() != "ready" {
		t.Fatalf("a child is not ready: %q", c.out.Text())
	}
	return c
}

func (c *child) goOn(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		t.Fatal(err)
	}
}

func TestEightProcessesShareOneStore(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect) // empty: they all make the tables, too
		var children []*child
		var all []keyring.Record
		for i := range 8 {
			children = append(children, startChild(t, task{Place: p, Writer: uint64(i + 1)}))
			all = append(all, writerRecords(uint64(i+1))...)
		}
		for _, c := range children {
			c.goOn(t)
		}
		for i, c := range children {
			if err := c.command.Wait(); err != nil {
				t.Errorf("process %d: %v", i+1, err)
			}
		}
		want := merged(all)
		if len(want) != 100 {
			t.Fatalf("%d keys are written, want 100", len(want))
		}
		same(t, loaded(t, p.open(t), all), want)
	})
}

func TestAKilledProcessLosesNothingThatWasSaved(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		next, saved := 0, []int(nil)
		for range 6 {
			c := startChild(t, task{Place: p, From: next})
			c.goOn(t)
			// The child goes on while its lines are read, so that the signal finds it
			// anywhere in its next batches.
			for range 1 + rand.IntN(25) {
				if !c.out.Scan() {
					t.Fatal("the child has ended by itself")
				}
				saved = append(saved, number(t, c.out.Text()))
			}
			if err := c.command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for c.out.Scan() { // what it said before it died
				saved = append(saved, number(t, c.out.Text()))
			}
			_ = c.command.Wait()
			next = saved[len(saved)-1] + 1
			holdsBatches(t, p, saved, next)
		}
	})
}

func number(t *testing.T, line string) int {
	t.Helper()
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holdsBatches demands that all saved batches are there, and of the batch that was not
// reported all or nothing.
func holdsBatches(t *testing.T, p place, saved []int, unreported int) {
	t.Helper()
	store := p.open(t)
	var want []keyring.Record
	for _, n := range saved {
		want = append(want, batch(n)...)
	}
	same(t, loaded(t, store, want), sorted(want))
	last := batch(unreported)
	if got := loaded(t, store, last); len(got) != 0 {
		same(t, got, sorted(last))
	}
}

// The server itself dies and recovers.
func TestACrashOfPostgreSQLLosesNothingThatWasSaved(t *testing.T) {
	crash := os.Getenv(crashVariable)
	if crash == "" {
		return // TestMain has said so
	}
	p := newPlace(t, sqlstore.PostgreSQL)
	db := p.db(t)
	store, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	lines := bufio.NewScanner(reader)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = saveBatches(ctx, store, 0, writer) // fails sooner or later
		writer.Close()
	}()
	var saved []int
	for len(saved) < 20 && lines.Scan() {
		saved = append(saved, number(t, lines.Text()))
	}
	crashed := make(chan error, 1)
	go func() {
		text, err := exec.Command(crash).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", crash, err, text)
		}
		crashed <- err
		cancel() // if a Save has outlasted the crash
	}()
	for lines.Scan() {
		saved = append(saved, number(t, lines.Text()))
	}
	if err := <-crashed; err != nil {
		t.Fatal(err)
	}
	holdsBatches(t, p, saved, saved[len(saved)-1]+1)
	// The old handle finds the server again.
	mustSave(t, store, batch(saved[0])...)
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// lifeFormat lays out a row: room version, servers, and the three lives of an invite.
const lifeFormat = "%-4s  %-7s  %-8s  %-9s  %-9s  │  %-8s  %-9s  %-10s  │  %s\n"

// lifeCells is how many cells the lives have.
const lifeCells = 7

func writeHeader(w io.Writer) {
	fmt.Fprintf(w, "\n%-15s%-30s  │  %-31s  │  %s\n", "", "alice → bob, who declines", "bob → alice, and takes it back", "alice → amy")
	fmt.Fprintf(w, lifeFormat, "ROOM", "SERVERS", "INVITED", "SIGNED", "DECLINED", "INVITED", "SIGNED", "TAKEN BACK", "LOCAL")
}

// A row is one line of the table, and perhaps one below it.
type row struct {
	version fedinvite.RoomVersion
	servers string
	cells   []string // of the lives
	note    string   // in place of them, for what must not succeed
	failure error    // what is not as it should be
}

// A step is one in the life of an invite. It returns what to show.
type step func(ctx context.Context) (cell string, err error)

// do takes the steps, until one fails.
func (r *row) do(ctx context.Context, steps ...step) {
	for _, s := range steps {
		if r.failure != nil {
			return
		}
		var cell string
		if cell, r.failure = s(ctx); r.failure == nil || cell != "" {
			r.cells = append(r.cells, cell)
		}
	}
}

func (r row) write(w io.Writer) {
	if r.note != "" {
		fmt.Fprintf(w, "%-4s  %-7s  %s\n", "v"+r.version, r.servers, oneLine(r.note))
	} else {
		cells := []any{"v" + r.version, r.servers}
		for i := range lifeCells {
			cell := "–"
			if i < len(r.cells) {
				cell = r.cells[i]
			}
			cells = append(cells, cell)
		}
		fmt.Fprint(w, strings.TrimRight(fmt.Sprintf(lifeFormat, cells...), " \n")+"\n")
	}
	if r.failure != nil {
		fmt.Fprintln(w, "      FAILED:", oneLine(r.failure.Error()))
	}
}

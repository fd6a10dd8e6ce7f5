package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// What the author of a Store reads: which record it is about, and the key as others show it.
func TestDifference(t *testing.T) {
	a, b, c := current("a.example", "ed25519:1"), current("a.example", "ed25519:2"), current("b.example", "ed25519:1")
	later := b
	later.Fetched = later.Fetched.Add(time.Millisecond)
	const shownB = `{Server "a.example", KeyID "ed25519:2", Public ASujQbZeSZFi1CCxS4iQBL8E5R4ri+tgQZxqNbFLlKE, ` +
		`ValidUntil 2026-03-02T12:00:00.678Z, ExpiredAt none, Fetched 2026-03-01T12:00:00.67`
	for name, row := range map[string]struct {
		got, want []keyring.Record
		text      []string // in this order; none: there is no difference
	}{
		"the same":         {[]keyring.Record{a, b}, []keyring.Record{a, b}, nil},
		"nothing":          {nil, nil, nil},
		"one missing":      {[]keyring.Record{a, c}, []keyring.Record{a, b, c}, []string{"Load returned 2 records, want 3; the first that is missing is\n", shownB + "8Z}"}},
		"the last missing": {[]keyring.Record{a}, []keyring.Record{a, b}, []string{"1 records, want 2", "missing", shownB}},
		"one too many":     {[]keyring.Record{a, b, c}, []keyring.Record{a, c}, []string{"Load returned 3 records, want 2; the first that should not be there is\n", shownB}},
		"the last":         {[]keyring.Record{a, b}, []keyring.Record{a}, []string{"should not be there", shownB}},
		"another":          {[]keyring.Record{a, later, c}, []keyring.Record{a, b, c}, []string{"Load returned\n", shownB + "9Z}\nwant\n", shownB + "8Z}"}},
		"one twice":        {[]keyring.Record{a, b, b}, []keyring.Record{a, b}, []string{"two records of one key:\n", shownB, shownB}},
		"one twice, early": {[]keyring.Record{a, b, b}, []keyring.Record{a, b, c}, []string{"two records of one key:\n", shownB, shownB}},
	} {
		text := difference(row.got, row.want)
		if (text == "") != (row.text == nil) {
			t.Errorf("%s: got %q", name, text)
		}
		rest := text
		for _, part := range row.text {
			_, after, ok := strings.Cut(rest, part)
			if !ok {
				t.Errorf("%s: got\n%s\nwithout %q", name, text, part)
			}
			rest = after
		}
	}
}

func TestEachCaseHasANameOfItsOwn(t *testing.T) {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(cases) {
		t.Error("two cases have one name")
	}
}

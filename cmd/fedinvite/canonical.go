package main

import (
	"context"

	"github.com/seed-0a46cb1a/fedinvite"
)

const canonicalUsage = `Usage:
    fedinvite canonical [-legacy] [FILE]

Write the JSON text in FILE, or from standard input, as Canonical JSON: no white
space, sorted keys, the shortest escapes. Nothing is added, no line break either.
What has no canonical form is refused: duplicate keys, invalid UTF-8, and numbers
that are not integers in ±(2^53−1).

Options:
    -legacy   the number rules of events of room versions 1 to 5, which allow
              greater integers and fractions

Examples:
    $ echo '{"b": "\u0041", "a": [1, 2]}' | fedinvite canonical
    {"a":[1,2],"b":"A"}
    $ fedinvite canonical event.json | sha256sum
`

func runCanonical(ctx context.Context, s streams, args []string) error {
	f := newFlags("canonical")
	legacy := f.Bool("legacy", false, "")
	file, err := f.parseFile(args)
	if err != nil {
		return err
	}
	src, err := readInput(ctx, s, file)
	if err != nil {
		return err
	}
	canonical := fedinvite.CanonicalJSON
	if *legacy {
		canonical = fedinvite.LegacyCanonicalJSON
	}
	text, err := canonical(src)
	if err != nil {
		return err
	}
	_, err = s.out.Write(text)
	return err
}

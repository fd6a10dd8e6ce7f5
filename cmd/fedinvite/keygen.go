package main

import (
	"context"
	"crypto/rand"

	"github.com/seed-0a46cb1a/fedinvite"
)

const keygenUsage = `Usage:
    fedinvite keygen

Make a signing key and write it to standard output: one line, as Synapse keeps
its signing key too. The line is a secret, so write it to a file that nobody else
can read.

Example:
    $ (umask 077; fedinvite keygen >a.key)
`

func runKeygen(_ context.Context, s streams, args []string) error {
	if err := newFlags("keygen").parseAlone(args); err != nil {
		return err
	}
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	return writeLine(s.out, []byte(fedinvite.FormatSigningKey(id, key)))
}

package main

import (
	"context"

	"github.com/seed-0a46cb1a/fedinvite"
)

const signUsage = `Usage:
    fedinvite sign -room-version V -server NAME -key FILE [FILE]

Read an event without hash and signature from FILE or from standard input, and
write it with both, as one line of canonical JSON. Signatures that it has stay,
a content hash that it has is replaced. Nothing else is checked: any JSON object
can be signed like an event.

Options:
    -room-version V   the version of the event's room, 1 to 12 (required)
    -server NAME      the server that signs (required)
    -key FILE         its signing key, see "fedinvite help keygen" (required)

Examples:
    $ fedinvite sign -room-version 11 -server a.example -key a.key event.json
    $ fedinvite sign -room-version 11 -server a.example -key a.key event.json |
          fedinvite event -room-version 11
`

func runSign(ctx context.Context, s streams, args []string) error {
	f := newFlags("sign")
	rules := f.needRules()
	server := f.needServer("server")
	keyFile := f.needString("key")
	file, err := f.parseFile(args)
	if err != nil {
		return err
	}
	signer, err := readSigner(*server, *keyFile)
	if err != nil {
		return err
	}
	raw, err := readInput(ctx, s, file)
	if err != nil {
		return err
	}
	signed, err := fedinvite.SignEventJSON(ctx, raw, *rules, signer)
	if err != nil {
		return err
	}
	return writeLine(s.out, signed)
}

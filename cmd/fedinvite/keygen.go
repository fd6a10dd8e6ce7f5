package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

const keygenUsage = `Usage:
    fedinvite keygen
    fedinvite keygen -public FILE -server NAME

Make a signing key and write it to standard output: one line, as Synapse keeps
its signing key too. The line is a secret, so write it to a file that nobody else
can read.

With -public, make nothing but read the signing key in FILE and write its public
key, in the form of the -keys file of 'fedinvite verify'.

Options:
    -public FILE   the signing key whose public key to write
    -server NAME   the server that the key belongs to, with -public

Example:
    $ (umask 077; fedinvite keygen >a.key)
    $ fedinvite keygen -public a.key -server a.example >keys.json
`

func runKeygen(_ context.Context, s streams, args []string) error {
	f := newFlags("keygen")
	keyFile := f.String("public", "", "")
	server := f.String("server", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	if (*keyFile == "") != (*server == "") {
		return usageError("-public and -server go together")
	}
	if *keyFile != "" {
		return writePublic(s, *keyFile, *server)
	}
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	return writeLine(s.out, []byte(fedinvite.FormatSigningKey(id, key)))
}

// writePublic writes a keys file of one key.
func writePublic(s streams, keyFile, server string) error {
	name, err := fedinvite.ParseServerName(server)
	if err != nil {
		return usageError(err.Error())
	}
	signer, err := readSigner(name, keyFile)
	if err != nil {
		return err
	}
	keys := map[fedinvite.ServerName]map[fedinvite.KeyID]fileKey{
		name: {signer.KeyID(): {Key: base64.RawStdEncoding.EncodeToString(signer.Public())}},
	}
	line, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return writeLine(s.out, line)
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	maxInput   = 16 << 20 // bytes of what a command works on
	maxKeyFile = 64 << 10
)

// readInput reads the file, or standard input if the name is "" or "-".
func readInput(ctx context.Context, s streams, name string) ([]byte, error) {
	if name != "" && name != "-" {
		return readFile(name, maxInput)
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // a terminal may be silent for ever, while a signal must end us
		data, err := readAll(s.in, maxInput)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("reading standard input: %w", r.err)
		}
		return r.data, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func readFile(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := readAll(file, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return data, nil
}

// readSigner reads the key file of a server. No error shows what is in the file.
func readSigner(server fedinvite.ServerName, name string) (fedinvite.Signer, error) {
	line, err := readFile(name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	id, key, err := fedinvite.ParseSigningKey(string(line))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return fedinvite.NewSigner(server, id, key)
}

// writeLine writes one line of output.
func writeLine(w io.Writer, line []byte) error {
	_, err := w.Write(append(bytes.Clone(line), '\n'))
	return err
}

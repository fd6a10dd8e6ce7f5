// Command vectors writes the test vectors of testdata/vectors that are made here, and
// the manifest of all:
//
//	go run ./internal/vectors
//
// It imports nothing of the library: canonical JSON, redaction, hashes, signatures and
// headers are written out once more, from the specification, so that vectors and library
// check each other. Every run writes the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// version is that of format and content: raise the first number if a runner has to be
// changed, the second if cases are added or changed.
const version = "1.0"

// specVersion is the release of the specification that the vectors follow.
const specVersion = "v1.19"

func main() {
	dir := flag.String("dir", filepath.Join("testdata", "vectors"), "where the vectors are")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}

// write writes the generated files and then the manifest of all files in dir.
func write(dir string) error {
	for _, f := range generated() {
		if err := writeFile(filepath.Join(dir, f.Kind+".json"), f); err != nil {
			return err
		}
	}
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, manifestName), m)
}

func writeFile(name string, v any) error {
	text, err := encode(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// generated returns the files that are made here.
func generated() []file {
	return []file{
		redactions(),
		headers(), requestSignatures(), requestVerification(),
		invitesAccepted(), invitesRefused(), invitesAuthentication(), invitesBodies(),
		invitesLimits(), invitesRoomState(), invitesPolicy(), invitesV1(),
		draftsOut(), repliesOut(), fallbackOut(),
	}
}

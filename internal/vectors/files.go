package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const manifestName = "manifest.json"

// A file is one file of vectors. Its path is its kind.
type file struct {
	Kind   string           `json:"kind"`
	About  string           `json:"about"`
	Source string           `json:"source"`
	Worlds map[string]world `json:"worlds,omitempty"`
	Cases  []any            `json:"cases"`
}

// source is that of the files that are made here.
const source = "made by internal/vectors of fedinvite from the specification, without the library"

// head is what all cases begin with.
type head struct {
	Name     string `json:"name"`
	Sentence string `json:"sentence,omitempty"`
	Spec     string `json:"spec,omitempty"`
	Note     string `json:"note,omitempty"`
}

type manifest struct {
	Version string         `json:"version"`
	Spec    string         `json:"spec_version"`
	Cases   int            `json:"cases"`
	Files   []manifestFile `json:"files"`
}

type manifestFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Cases  int    `json:"cases"`
}

// readManifest makes the manifest of the files in dir, ordered by path.
func readManifest(dir string) (manifest, error) {
	m := manifest{Version: version, Spec: specVersion}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".json" || filepath.Base(name) == manifestName {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var f struct{ Cases []json.RawMessage }
		if err := json.Unmarshal(text, &f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		local, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		m.Files = append(m.Files, manifestFile{filepath.ToSlash(local), hex.EncodeToString(sum[:]), len(f.Cases)})
		m.Cases += len(f.Cases)
		return nil
	})
	return m, err
}

// encode returns the text of a file.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return b.Bytes(), err
}

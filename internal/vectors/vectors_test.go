package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const committed = "../../testdata/vectors"

// What is committed is what the generator makes, the manifest included, and making it
// twice makes no difference.
func TestGenerator(t *testing.T) {
	for range 2 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(committed)); err != nil {
			t.Fatal(err)
		}
		if err := write(dir); err != nil {
			t.Fatal(err)
		}
		for _, f := range generated() {
			compare(t, dir, f.Kind+".json")
		}
		compare(t, dir, manifestName)
	}
}

func compare(t *testing.T, dir, name string) {
	t.Helper()
	made, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.ReadFile(filepath.Join(committed, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, there) {
		t.Errorf("%s is not what go run ./internal/vectors makes", name)
	}
}

// The vectors and the library check each other, so one must not be made by the other.
func TestGeneratorDoesWithoutTheLibrary(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			if strings.Contains(spec.Path.Value, ".") {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
	}
}

func TestCanonical(t *testing.T) {
	v := object{
		"b": list{1, int64(-2), true, nil, "\x00\x1f\b\t\n\f\r\"\\/é\u2028😀", text("1.5")},
		"":  object{}, "a": list{}, "\ufb33": 1, "😀": 2,
	}
	want := `{"":{},"a":[],"b":[1,-2,true,null,"\u0000\u001f\b\t\n\f\r\"\\/é` + "\u2028" + `😀",1.5],"` + "\ufb33" + `":1,"😀":2}`
	if got := canonical(v); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

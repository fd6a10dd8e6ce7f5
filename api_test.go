package fedinvite_test

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite/internal/api"
)

var update = flag.Bool("update", false, "write the golden files of the exported API anew")

// publicModules are the nested modules that users import.
var publicModules = []string{"keyring/sqlstore"}

var readPublic = sync.OnceValues(func() (map[string]*api.Package, error) { return api.Read(".", publicModules...) })

// publicPackages returns the packages that users import, by their directories.
func publicPackages(t *testing.T) map[string]*api.Package {
	t.Helper()
	packages, err := readPublic()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append([]string{".", "keyring", "keyring/storetest"}, publicModules...) {
		if packages[dir] == nil {
			t.Errorf("%s is not found: the test is broken", dir)
		}
	}
	return packages
}

// What users can depend on changes by intent only: go test -run TestAPI -update writes it
// anew, and the difference belongs into CHANGELOG.md.
func TestAPI(t *testing.T) {
	files := make(map[string]string)
	for dir, p := range publicPackages(t) {
		if dir == "." {
			dir = p.Name
		}
		lines, err := p.Lines()
		if err != nil {
			t.Error(err)
		}
		files[filepath.Join(apiDir, filepath.FromSlash(dir)+".txt")] = strings.Join(lines, "\n") + "\n"
	}
	if *update {
		writeAPI(t, files)
	}
	for name, want := range files {
		golden, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := lineDiff(string(golden), want); diff != "" {
			t.Errorf("%s: -golden +exported; go test -run TestAPI -update writes it anew\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(files)), goldenAPI(t)); diff != "" {
		t.Errorf("golden files: -packages +files\n%s", diff)
	}
}

const apiDir = "testdata/api"

// lineDiff returns the lines that only one of the two has.
func lineDiff(golden, exported string) string {
	was, is := strings.Split(golden, "\n"), strings.Split(exported, "\n")
	var diff strings.Builder
	for _, line := range was {
		if !slices.Contains(is, line) {
			diff.WriteString("- " + line + "\n")
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			diff.WriteString("+ " + line + "\n")
		}
	}
	if diff.Len() == 0 && golden != exported {
		return "the lines are in another order, or some are there twice"
	}
	return diff.String()
}

// goldenAPI returns the names of the golden files, sorted.
func goldenAPI(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(apiDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func writeAPI(t *testing.T, files map[string]string) {
	t.Helper()
	if err := os.RemoveAll(apiDir); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The conventions of pkg.go.dev.
func TestEveryPackageIsDocumentedAndHasAnExampleThatRuns(t *testing.T) {
	for dir, p := range publicPackages(t) {
		if !p.Documented() {
			t.Errorf("%s has no doc comment", dir)
		}
		if len(p.Examples()) == 0 {
			t.Errorf("%s has no example with an Output", dir)
		}
		for _, place := range p.Undocumented() {
			t.Errorf("%s has no comment", place)
		}
	}
}

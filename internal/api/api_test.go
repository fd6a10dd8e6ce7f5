package api_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite/internal/api"
)

func readTree(t *testing.T) map[string]*api.Package {
	t.Helper()
	packages, err := api.Read("testdata/tree", "nested")
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func TestReadFindsWhatOthersCanImport(t *testing.T) {
	want := []string{".", "nested", "sub"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(readTree(t)))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestLines(t *testing.T) {
	got, err := readTree(t)["."].Lines()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`const A Kind = 0`,
		`const Big untyped int = 4611686018427387904`,
		`const C Kind = 2`,
		`const Month time.Month = 3`,
		`const Second = 2 * time.Second`,
		`const Untyped untyped string = "xy"`,
		`func F(int, int, ...func(string) error) (int, error)`,
		`func G[K comparable, V any](map[K]V)`,
		`method (*Struct) Method() <-chan int`,
		`method (List[T]) Of(int) T`,
		`type Alias = Struct`,
		`type Embedded struct`,
		`type Embedded struct, N int`,
		`type Interface interface`,
		`type Interface interface, Do(context.Context, string) error`,
		`type Interface interface, Undone()`,
		`type Interface interface, embedded fmt.Stringer`,
		`type Interface interface, unexported methods`,
		`type Kind int`,
		`type List[T any] []T`,
		`type Struct struct`,
		"type Struct struct, Also int `json:\"e\"`",
		`type Struct struct, Callback func(context.Context, time.Time) (int, error)`,
		"type Struct struct, Exported int `json:\"e\"`",
		`type Struct struct, embedded *Embedded`,
		`type Struct struct, embedded context.Context`,
		`var ErrX error`,
		`var ErrY error`,
		`var Last chan<- int`,
		`var Table map[string][4]*Kind`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// What source alone does not say is an error, not a wrong line.
func TestLinesRefuse(t *testing.T) {
	for name, source := range map[string]string{
		"a value of another package": "const (\nX time.Duration = iota*time.Second\nY\n)",
		"a type of another package":  "var X = time.UTC",
		"the type of a call":         "var X = f()\nfunc f() int { return 0 }",
		"a hidden type":              "type X struct{ y }\ntype y struct{ N int }",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte("package x\nimport \"time\"\n"+source), 0o644); err != nil {
			t.Fatal(err)
		}
		packages, err := api.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := packages["."].Lines(); err == nil || !strings.Contains(err.Error(), "x.go:") {
			t.Errorf("%s: got %q, %v", name, lines, err)
		}
	}
}

func TestUndocumented(t *testing.T) {
	var got []string
	for _, place := range readTree(t)["."].Undocumented() {
		got = append(got, place[strings.LastIndex(place, " ")+1:])
	}
	want := []string{"Untyped", "Big", "Second", "Month", "ErrX", "Table", "Last", "G", "Embedded", "Method", "Interface.Undone"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDocumentedAndExamples(t *testing.T) {
	packages := readTree(t)
	if !packages["."].Documented() || packages["sub"].Documented() {
		t.Error("the doc comment of tree is not found, or one of sub that is not there")
	}
	if diff := cmp.Diff([]string{"", "G"}, packages["."].Examples()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := packages["sub"].Examples(); got != nil {
		t.Errorf("got %q", got)
	}
}

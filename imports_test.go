package fedinvite_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The parts of this module that the root package is made of; they keep its rules.
var ownParts = []string{"internal/detail", "internal/glob", "internal/inbound"}

// The foreign packages that the root package may import, all of them.
var foreignImports = []string{
	"github.com/tidwall/gjson",
	"github.com/tidwall/sjson",
	"golang.org/x/crypto/ed25519",
}

// Standard packages that a package without network, storage, clock, randomness and
// logging has no use for. net/http is for the types of a handler.
var needlessImports = []string{
	"C", "crypto/rand", "database/sql", "embed", "expvar", "flag", "io/ioutil", "log", "log/slog", "log/syslog", "math/rand",
	"math/rand/v2", "net", "net/rpc", "net/smtp", "os/exec", "os/signal", "os/user", "path/filepath", "plugin", "reflect", "syscall",
	"testing", "unsafe",
}

// What must not be called or used, as package and name; a name may end in '*'.
var forbiddenNames = []string{
	"fmt.Print*", "fmt.Fprint*", "fmt.Scan*", "log.*", "slog.*", "http.Get", "http.Post*", "http.Head", "http.DefaultClient",
	"http.Listen*", "http.Handle*", "os.Exit", "os.Std*", "os.Open*", "os.Create*", "os.Read*", "os.Write*", "os.Getenv", "os.Setenv",
	"runtime.GC", "time.Now", "time.Since", "time.Until", "time.Sleep", "time.After*", "time.Tick", "time.New*",
}

// rootFiles parses the files of the package and of its parts that are no tests.
func rootFiles(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	var names []string
	for _, dir := range append([]string{"."}, ownParts...) {
		found, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(found) == 0 {
			t.Fatal(dir, err)
		}
		names = append(names, found...)
	}
	var err error
	set, files := token.NewFileSet(), map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if files[name], err = parser.ParseFile(set, name, nil, parser.SkipObjectResolution|parser.ParseComments); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 10 {
		t.Fatalf("only %d files found", len(files))
	}
	return set, files
}

func TestImportsAreTheListedOnes(t *testing.T) {
	_, files := rootFiles(t)
	foreign := map[string]bool{}
	for name, file := range files {
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name != nil {
				t.Errorf("%s imports %s as %s", name, path, spec.Name.Name)
			}
			if part, ok := strings.CutPrefix(path, "github.com/seed-0a46cb1a/fedinvite/"); ok && slices.Contains(ownParts, part) {
				continue
			}
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				foreign[path] = true
			}
			if slices.Contains(needlessImports, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	if diff := cmp.Diff(foreignImports, slices.Sorted(maps.Keys(foreign))); diff != "" {
		t.Errorf("imports from outside the standard library: -want +got\n%s", diff)
	}
}

// calleeName returns "f" or "pkg.F" for what is called or selected.
func calleeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

func TestNoInitNoPanicNoOutputNoClock(t *testing.T) {
	set, files := rootFiles(t)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: an init function", set.Position(n.Pos()))
				}
			case *ast.CallExpr:
				if name := calleeName(n.Fun); slices.Contains([]string{"panic", "print", "println", "recover"}, name) {
					t.Errorf("%s: %s", set.Position(n.Pos()), name)
				}
			case *ast.SelectorExpr:
				for _, forbidden := range forbiddenNames {
					prefix, wild := strings.CutSuffix(forbidden, "*")
					if name := calleeName(n); name == forbidden || wild && strings.HasPrefix(name, prefix) {
						t.Errorf("%s: %s", set.Position(n.Pos()), name)
					}
				}
			}
			return true
		})
	}
}

// variables returns the package variables that hold no error and no pool.
func variables(t *testing.T, set *token.FileSet, files map[string]*ast.File) []string {
	t.Helper()
	var tables []string
	for _, file := range files {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, name := range spec.Names {
					where := set.Position(name.Pos())
					switch {
					case name.Name == "_": // an assertion that a type has an interface
					case len(spec.Values) != len(spec.Names):
						t.Errorf("%s: %s has no value of its own: it could only be set later", where, name)
					case isError(name, spec.Values[i]), isPool(spec.Values[i]):
					case name.IsExported():
						t.Errorf("%s: %s is exported, so that everybody may change it", where, name)
					default:
						tables = append(tables, name.Name)
					}
				}
			}
		}
	}
	return tables
}

func isError(name *ast.Ident, value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	return ok && strings.HasPrefix(name.Name, "Err") && slices.Contains([]string{"errors.New", "fmt.Errorf"}, calleeName(call.Fun))
}

func isPool(value ast.Expr) bool {
	literal, ok := value.(*ast.CompositeLit)
	return ok && calleeName(literal.Type) == "sync.Pool"
}

// rootOf returns the variable that x, x[i], x.f, x[i:j] or *x belongs to.
func rootOf(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return ""
		}
	}
}

// changed returns what a statement or an expression writes to or gives away.
func changed(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if _, whole := n.X.(*ast.Ident); whole && n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		name := calleeName(n.Fun)
		if len(n.Args) > 0 && (slices.Contains([]string{"append", "clear", "copy", "delete", "slices.Reverse"}, name) ||
			strings.HasPrefix(name, "slices.Sort") || strings.HasPrefix(name, "sort.")) {
			return n.Args[:1]
		}
	case *ast.ReturnStmt:
		return n.Results
	}
	return nil
}

// Package variables are errors, pools of scratch memory, and tables that nobody
// writes to or hands out.
func TestPackageVariablesAreNeverChanged(t *testing.T) {
	set, files := rootFiles(t)
	tables := variables(t, set, files)
	if len(tables) == 0 {
		t.Fatal("no table found: the test is broken")
	}
	for _, file := range files {
		for _, decl := range file.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(function, func(n ast.Node) bool {
				for _, e := range changed(n) {
					_, isReturn := n.(*ast.ReturnStmt)
					if _, whole := e.(*ast.Ident); isReturn && !whole {
						continue // an element, which is copied
					}
					if name := rootOf(e); slices.Contains(tables, name) {
						t.Errorf("%s: the table %s is changed or given away", set.Position(n.Pos()), name)
					}
				}
				return true
			})
		}
	}
}

// A new function that takes Rules must refuse the zero value, and be in the test of that.
func TestEveryFunctionThatTakesRulesIsTestedWithZeroRules(t *testing.T) {
	_, files := rootFiles(t)
	var got []string
	for _, file := range files {
		for _, decl := range file.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Recv != nil || !function.Name.IsExported() {
				continue
			}
			for _, parameter := range function.Type.Params.List {
				if calleeName(parameter.Type) == "Rules" {
					got = append(got, function.Name.Name)
				}
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(functionsOfRules)), got); diff != "" {
		t.Errorf("-tested +exported\n%s", diff)
	}
}

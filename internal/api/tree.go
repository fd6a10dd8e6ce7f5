package api

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// private are the directories whose packages nobody outside is to import, or can.
var private = []string{"cmd", "examples", "internal", "testdata"}

// A Package is the source of one.
type Package struct {
	Name  string
	set   *token.FileSet
	files []*ast.File // sorted by name
	tests []*ast.File // its tests, of both packages
}

// Read reads the packages below root that others may import, by their directories: relative
// to root and with slashes. A nested module counts if it is one of modules.
func Read(root string, modules ...string) (map[string]*Package, error) {
	packages := make(map[string]*Package)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if dir = filepath.ToSlash(dir); dir != "." && !public(path, dir, modules) {
			return filepath.SkipDir
		}
		p, err := parse(path)
		if p != nil && p.Name != "main" {
			packages[dir] = p
		}
		return err
	})
	return packages, err
}

func public(path, dir string, modules []string) bool {
	name := filepath.Base(path)
	if slices.Contains(private, name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return false
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err != nil || slices.Contains(modules, dir)
}

// parse reads the package in dir; nil if there is none, or nothing but tests.
func parse(dir string) (*Package, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &Package{set: token.NewFileSet()}
	for _, name := range names {
		file, err := parser.ParseFile(p.set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		switch {
		case err != nil:
			return nil, err
		case ignored(file):
		case strings.HasSuffix(name, "_test.go"):
			p.tests = append(p.tests, file)
		default:
			p.files = append(p.files, file)
			p.Name = file.Name.Name
		}
	}
	if len(p.files) == 0 {
		return nil, nil
	}
	return p, nil
}

// ignored reports whether a file is for go run only.
func ignored(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() < file.Package && constraint.IsGoBuild(c.Text) && strings.Contains(c.Text, "ignore") {
				return true
			}
		}
	}
	return false
}

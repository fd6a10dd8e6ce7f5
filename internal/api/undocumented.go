package api

import (
	"fmt"
	"go/ast"
)

// Undocumented returns the places of exported names that have no comment: functions,
// methods, types, methods of interfaces; constants and variables, of which those in one
// group may have one together. The fields of structs are left to whoever writes them: a
// name may say it all.
func (p *Package) Undocumented() []string {
	var all []string
	miss := func(n ast.Node, name string) {
		all = append(all, fmt.Sprintf("%s: %s", p.set.Position(n.Pos()), name))
	}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Doc.Text() == "" && exportedFunction(decl) {
					miss(decl, decl.Name.Name)
				}
			case *ast.GenDecl:
				undocumentedIn(decl, miss)
			}
		}
	}
	return all
}

func exportedFunction(f *ast.FuncDecl) bool {
	return f.Name.IsExported() && (f.Recv == nil || ast.IsExported(receiverName(f.Recv.List[0].Type)))
}

func undocumentedIn(d *ast.GenDecl, miss func(ast.Node, string)) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if d.Doc.Text()+spec.Doc.Text() == "" {
				miss(spec, spec.Name.Name)
			}
			if t, ok := spec.Type.(*ast.InterfaceType); ok {
				undocumentedMethods(spec.Name.Name, t, miss)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && d.Doc.Text()+spec.Doc.Text()+spec.Comment.Text() == "" {
					miss(name, name.Name)
				}
			}
		}
	}
}

func undocumentedMethods(of string, t *ast.InterfaceType, miss func(ast.Node, string)) {
	for _, m := range t.Methods.List {
		for _, name := range m.Names {
			if name.IsExported() && m.Doc.Text()+m.Comment.Text() == "" {
				miss(name, of+"."+name.Name)
			}
		}
	}
}

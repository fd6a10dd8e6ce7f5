package api

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// Lines returns what p exports, one line for each name, field and method, sorted. They say
// all that users' code can depend on, as far as it is seen without the packages that p
// imports: names of parameters are left out, what is not exported is not there.
func (p *Package) Lines() ([]string, error) {
	l := &lines{Package: p, constants: p.evaluate()}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				l.function(decl)
			case *ast.GenDecl:
				l.declaration(decl)
			}
		}
	}
	slices.Sort(l.all)
	return slices.Compact(l.all), l.err
}

type lines struct {
	*Package
	constants map[string]*types.Const
	all       []string
	err       error // the first
}

func (l *lines) add(format string, args ...any) {
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

// fail is for what there has been no need of yet.
func (l *lines) fail(n ast.Node, problem string) {
	if l.err == nil {
		l.err = fmt.Errorf("%s: %s", l.set.Position(n.Pos()), problem)
	}
}

func (l *lines) function(f *ast.FuncDecl) {
	if !f.Name.IsExported() {
		return
	}
	if f.Recv == nil {
		l.add("func %s%s%s", f.Name.Name, typeParams(f.Type.TypeParams), signature(f.Type))
		return
	}
	receiver := f.Recv.List[0].Type
	if ast.IsExported(receiverName(receiver)) {
		l.add("method (%s) %s%s", text(receiver), f.Name.Name, signature(f.Type))
	}
}

// receiverName returns T of T, *T and *T[P].
func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexExpr:
		return receiverName(e.X)
	case *ast.IndexListExpr:
		return receiverName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func (l *lines) declaration(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				l.typ(spec)
			}
		case *ast.ValueSpec:
			for i, name := range spec.Names {
				switch {
				case !name.IsExported():
				case d.Tok == token.CONST:
					l.constant(spec, i)
				default:
					l.variable(spec, i)
				}
			}
		}
	}
}

// constant gives type and value; what comes from another package is given as it is written.
func (l *lines) constant(spec *ast.ValueSpec, i int) {
	name := spec.Names[i].Name
	c := l.constants[name]
	switch {
	case c != nil && c.Val().Kind() != constant.Unknown:
		l.add("const %s %s = %s", name, types.TypeString(c.Type(), unqualified), c.Val().ExactString())
	case i >= len(spec.Values):
		l.fail(spec, "the value of the constant "+name+" is not written there")
	case spec.Type != nil:
		l.add("const %s %s = %s", name, text(spec.Type), text(spec.Values[i]))
	default:
		l.add("const %s = %s", name, text(spec.Values[i]))
	}
}

func unqualified(*types.Package) string { return "" }

func (l *lines) variable(spec *ast.ValueSpec, i int) {
	switch {
	case spec.Type != nil:
		l.add("var %s %s", spec.Names[i].Name, text(spec.Type))
	case len(spec.Values) == len(spec.Names) && isError(spec.Values[i]):
		l.add("var %s error", spec.Names[i].Name)
	default:
		l.fail(spec, "the type of the variable "+spec.Names[i].Name+" is not written there")
	}
}

func isError(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && slices.Contains([]string{"errors.New", "fmt.Errorf"}, text(call.Fun))
}

func (l *lines) typ(spec *ast.TypeSpec) {
	name := spec.Name.Name + typeParams(spec.TypeParams)
	if spec.Assign.IsValid() {
		l.add("type %s = %s", name, text(spec.Type))
		return
	}
	switch t := spec.Type.(type) {
	case *ast.StructType:
		l.add("type %s struct", name)
		l.fields(name, t)
	case *ast.InterfaceType:
		l.add("type %s interface", name)
		l.methods(name, t)
	default:
		l.add("type %s %s", name, text(t))
	}
}

func (l *lines) fields(name string, t *ast.StructType) {
	for _, f := range t.Fields.List {
		if len(f.Names) == 0 {
			embedded := text(f.Type)
			if !ast.IsExported(embedded[strings.LastIndexAny(embedded, "*.")+1:]) {
				l.fail(f, "an embedded type that is not exported may have fields and methods that are")
			}
			l.add("type %s struct, embedded %s%s", name, embedded, tag(f))
		}
		for _, field := range f.Names {
			if field.IsExported() {
				l.add("type %s struct, %s %s%s", name, field.Name, text(f.Type), tag(f))
			}
		}
	}
}

func tag(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	return " " + f.Tag.Value
}

func (l *lines) methods(name string, t *ast.InterfaceType) {
	for _, m := range t.Methods.List {
		if len(m.Names) == 0 {
			l.add("type %s interface, embedded %s", name, text(m.Type))
		}
		for _, method := range m.Names {
			if !method.IsExported() {
				l.add("type %s interface, unexported methods", name)
				continue
			}
			f, ok := m.Type.(*ast.FuncType)
			if !ok {
				l.fail(m, "no method")
				continue
			}
			l.add("type %s interface, %s%s", name, method.Name, signature(f))
		}
	}
}

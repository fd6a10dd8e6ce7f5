package api

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"strings"
)

// signature returns the types of parameters and results, without their names.
func signature(f *ast.FuncType) string {
	s := "(" + strings.Join(typesOf(f.Params), ", ") + ")"
	switch results := typesOf(f.Results); len(results) {
	case 0:
		return s
	case 1:
		return s + " " + results[0]
	default:
		return s + " (" + strings.Join(results, ", ") + ")"
	}
}

func typesOf(list *ast.FieldList) []string {
	var all []string
	for _, f := range fieldsOf(list) {
		for range max(1, len(f.Names)) {
			all = append(all, text(f.Type))
		}
	}
	return all
}

func fieldsOf(list *ast.FieldList) []*ast.Field {
	if list == nil {
		return nil
	}
	return list.List
}

// typeParams returns "[K comparable, V any]", or nothing.
func typeParams(list *ast.FieldList) string {
	var all []string
	for _, f := range fieldsOf(list) {
		for _, name := range f.Names {
			all = append(all, name.Name+" "+text(f.Type))
		}
	}
	if all == nil {
		return ""
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// text writes a type or an expression in one line, without comments and without the names of
// the parameters of functions in it.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.FuncType:
		return "func" + signature(e)
	case *ast.Ellipsis:
		return "..." + text(e.Elt)
	case *ast.StarExpr:
		return "*" + text(e.X)
	case *ast.ArrayType:
		if e.Len == nil {
			return "[]" + text(e.Elt)
		}
		return "[" + text(e.Len) + "]" + text(e.Elt)
	case *ast.MapType:
		return "map[" + text(e.Key) + "]" + text(e.Value)
	case *ast.ChanType:
		return []string{"", "chan<- ", "<-chan ", "chan "}[e.Dir] + text(e.Value)
	}
	var b bytes.Buffer
	if err := format.Node(&b, token.NewFileSet(), e); err != nil {
		return "?" // no expression that was parsed
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

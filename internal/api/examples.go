package api

import "go/doc"

// Documented reports whether the package has a doc comment.
func (p *Package) Documented() bool {
	for _, file := range p.files {
		if file.Doc.Text() != "" {
			return true
		}
	}
	return false
}

// Examples returns the names of the examples that go test runs: those with an Output. An
// example of the package itself has the name "".
func (p *Package) Examples() []string {
	var names []string
	for _, e := range doc.Examples(p.tests...) {
		if e.Output != "" || e.EmptyOutput {
			names = append(names, e.Name)
		}
	}
	return names
}

// Package api reads what packages export, from their source alone, for tests: lines for a
// golden file in the manner of $GOROOT/api, names without documentation, and examples.
package api

// Package storetest tests implementations of keyring.Store, in the manner of
// testing/slogtest:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) func() keyring.Store {
//			data := newDatabase(t)
//			return func() keyring.Store { return open(t, data) }
//		})
//	}
//
// The names of the subtests say what a Store must do, and failures show records with their
// keys in base64, as key documents have them.
package storetest

import (
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// Run tests a kind of Store, one subtest of t for each thing that a Store must do.
// empty is called at the start of a subtest, with its t. It makes data of its own, with
// nothing in it, and returns a function that opens a Store onto these data, as one more
// process would; what has to be closed is closed by t.Cleanup.
//
// The Stores need room for 5,000 servers with one key each, and for 64 keys of one
// server. Without network, Run takes a second or two.
func Run(t *testing.T, empty func(t *testing.T) (open func() keyring.Store)) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			c.test(&scene{T: t, open: empty(t)})
		})
	}
}

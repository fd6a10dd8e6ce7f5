package storetest_test

import "testing"

// The Store of the example is one.
func TestTheExample(t *testing.T) { testStore(t) }

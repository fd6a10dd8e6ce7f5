package tree_test

import "fmt"

func Example() {
	fmt.Println("x")
	// Output: x
}

func ExampleF() { fmt.Println("not run") }

func ExampleG() {
	// Output:
}

func Exported() {}

// Package tree exports some of everything.
package tree

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Constants, of which one is not exported.
const (
	A, b Kind = iota, "b"
	C    Kind = iota * 2
)

const Untyped = "x" + "y"

const Big = 1 << 62

const (
	Second            = 2 * time.Second
	Month  time.Month = 3
)

// Kind is a kind.
type Kind int

var (
	ErrX = errors.New("x")
	// ErrY is documented.
	ErrY       = fmt.Errorf("%w: y", ErrX)
	errZ       = errors.New("z")
	Table      map[string][4]*Kind
	Last, last chan<- int
)

// F is documented.
func F(a, b int, rest ...func(name string) error) (n int, err error) { return 0, nil }

func G[K comparable, V any](m map[K]V) {}

func f() {}

type (
	// Struct has fields.
	Struct struct {
		Exported, Also int `json:"e"`
		hidden         bool
		*Embedded
		context.Context
		Callback func(ctx context.Context, at time.Time) (n int, err error)
	}
	Embedded struct{ N int }
	hidden   struct{ N int }
)

func (s *Struct) Method() <-chan int { return nil }

// Of is documented.
func (l List[T]) Of(i int) (t T) { return t }

func (h hidden) Method() {}

func (s Struct) method() {}

// List is generic.
type List[T any] []T

// Alias is one.
type Alias = Struct

// Interface has methods.
type Interface interface {
	fmt.Stringer
	// Do is documented.
	Do(ctx context.Context, what string) error
	Undone()
	private()
}

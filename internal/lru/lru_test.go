package lru_test

import (
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

func TestTheLeastLatelyUsedIsForgotten(t *testing.T) {
	c := lru.New[string, int](3)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Put("c", 3)
	c.Get("a")
	c.Put("b", 4) // setting is a use too, and keeps the number
	c.Put("d", 5) // c was used least lately
	for key, want := range map[string]int{"a": 1, "b": 4, "d": 5} {
		if got, ok := c.Get(key); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", key, got, ok, want)
		}
	}
	if _, ok := c.Get("c"); ok || c.Len() != 3 {
		t.Errorf("c is remembered, or %d values are", c.Len())
	}
}

func TestRemove(t *testing.T) {
	c := lru.New[string, int](2)
	c.Remove("a")
	c.Put("a", 1)
	c.Put("b", 2)
	c.Remove("a")
	if _, ok := c.Get("a"); ok || c.Len() != 1 {
		t.Error("a is remembered")
	}
	c.Put("c", 3)
	if _, ok := c.Get("b"); !ok {
		t.Error("b was forgotten though there was room")
	}
	c.Remove("b")
	c.Remove("c")
	c.Put("d", 4)
	if got, ok := c.Get("d"); !ok || got != 4 || c.Len() != 1 {
		t.Error("an emptied cache does not work")
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	c := lru.New[string, [4]int](2)
	c.Put("a", [4]int{1})
	c.Put("b", [4]int{2})
	if n := testing.AllocsPerRun(100, func() { c.Get("a"); c.Get("b") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

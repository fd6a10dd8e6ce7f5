// Package lru remembers a bounded number of things and forgets the one that was not
// asked about for longest.
package lru

// A Cache maps keys to values, a bounded number of them. It is not safe for concurrent
// use.
type Cache[K comparable, V any] struct {
	most  int
	nodes map[K]*node[K, V]
	ends  node[K, V] // of a ring: next was used last, prev is to be forgotten next
}

type node[K comparable, V any] struct {
	prev, next *node[K, V]
	key        K
	value      V
}

// New returns an empty Cache for most values, of which there must be one at least.
func New[K comparable, V any](most int) *Cache[K, V] {
	c := &Cache[K, V]{most: most, nodes: make(map[K]*node[K, V])}
	c.ends.prev, c.ends.next = &c.ends, &c.ends
	return c
}

// Len returns the number of values.
func (c *Cache[K, V]) Len() int { return len(c.nodes) }

// Get returns the value of key, and whether there is one. It counts as a use.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	n, ok := c.nodes[key]
	if !ok {
		return value, false
	}
	if c.ends.next != n {
		n.unlink()
		c.toFront(n)
	}
	return n.value, true
}

// Put sets the value of key, and forgets the one that was used least lately if there
// are too many.
func (c *Cache[K, V]) Put(key K, value V) {
	n, ok := c.nodes[key]
	if ok {
		n.unlink()
	} else {
		if len(c.nodes) >= c.most {
			c.Remove(c.ends.prev.key)
		}
		n = &node[K, V]{key: key}
		c.nodes[key] = n
	}
	n.value = value
	c.toFront(n)
}

// Remove forgets key.
func (c *Cache[K, V]) Remove(key K) {
	if n, ok := c.nodes[key]; ok {
		n.unlink()
		delete(c.nodes, key)
	}
}

func (c *Cache[K, V]) toFront(n *node[K, V]) {
	n.prev, n.next = &c.ends, c.ends.next
	n.prev.next, n.next.prev = n, n
}

func (n *node[K, V]) unlink() { n.prev.next, n.next.prev = n.next, n.prev }

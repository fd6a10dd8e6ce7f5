package keyring

import (
	"container/list"

	"github.com/seed-0a46cb1a/fedinvite"
)

// An lru remembers something of a bounded number of servers and forgets the one
// that was not asked about for longest.
type lru[V any] struct {
	most  int
	order *list.List // of lruItem; the front was used last
	items map[fedinvite.ServerName]*list.Element
}

type lruItem[V any] struct {
	server fedinvite.ServerName
	value  V
}

func newLRU[V any](most int) *lru[V] {
	return &lru[V]{most, list.New(), make(map[fedinvite.ServerName]*list.Element)}
}

// get returns the zero value for servers that it does not remember.
func (l *lru[V]) get(server fedinvite.ServerName) (value V) {
	if e, ok := l.items[server]; ok {
		l.order.MoveToFront(e)
		value = e.Value.(lruItem[V]).value
	}
	return value
}

func (l *lru[V]) put(server fedinvite.ServerName, value V) {
	l.remove(server)
	l.items[server] = l.order.PushFront(lruItem[V]{server, value})
	if l.order.Len() > l.most {
		l.remove(l.order.Back().Value.(lruItem[V]).server)
	}
}

func (l *lru[V]) remove(server fedinvite.ServerName) {
	if e, ok := l.items[server]; ok {
		l.order.Remove(e)
		delete(l.items, server)
	}
}

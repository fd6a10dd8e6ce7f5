package discovery

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
)

const (
	// maxConnections is how many there are before those that nobody is using are closed.
	maxConnections = 1000
	// maxIdle is how many of them are kept for one target.
	maxIdle = 2
)

var errOver = errors.New("the request that wanted the connection is over")

// connections are those of a [Transport], in a pool for each target and name of a
// certificate. net/http has bounds for idle connections by HTTP/1.1, and none for those by
// HTTP/2; but it alone knows which are idle. So each pool has a net/http transport of its
// own, to be told to close those. It is safe for concurrent use.
type connections struct {
	transport func(*pool) *http.Transport
	most      int

	mu    sync.Mutex
	open  int
	pools map[string]*pool // those that are of use, by key
	order list.List        // of the same, the one that was used last in front
}

// A pool has the connections of one key.
type pool struct {
	key   string
	http  *http.Transport
	place *list.Element
	// Of these a pool has some, or it is forgotten.
	requests int  // that wait for their answers
	open     int  // connections, and attempts to make one
	http2    bool // they speak it
}

func newConnections(transport func(*pool) *http.Transport) *connections {
	return &connections{transport: transport, most: maxConnections, pools: map[string]*pool{}}
}

// enter returns the pool of key for a request, which is to leave it.
func (c *connections) enter(key string) *pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pools[key]
	if p == nil {
		p = &pool{key: key}
		p.http, p.place = c.transport(p), c.order.PushFront(p)
		c.pools[key] = p
	}
	p.requests++
	c.order.MoveToFront(p.place)
	return p
}

// leave says that a request has its answer, or an error. HTTP/2 makes more connections than
// are kept if a server allows few requests on one.
func (c *connections) leave(p *pool) {
	c.mu.Lock()
	p.requests--
	crowded := p.http2 && p.requests == 0 && p.open > maxIdle
	c.forget(p)
	c.mu.Unlock()
	if crowded {
		p.http.CloseIdleConnections()
	}
}

// opening counts a connection that is about to be made, until closed is called for it, and
// closes idle ones if there are too many, until ctx ends.
func (c *connections) opening(ctx context.Context, p *pool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pools[p.key] != p { // else the connection would be in no order
		return errOver
	}
	c.open++
	p.open++
	for tries := c.order.Len(); c.open > c.most && tries > 0 && ctx.Err() == nil; tries-- {
		last := c.order.Back()
		c.order.MoveToFront(last) // what it keeps is in use
		idle := last.Value.(*pool).http
		c.mu.Unlock()
		idle.CloseIdleConnections() // calls closed, and takes its time if the peer does
		c.mu.Lock()
	}
	return nil
}

// opened says what a connection of p has turned out to be.
func (c *connections) opened(p *pool, http2 bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.http2 = http2
}

func (c *connections) closed(p *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	p.open--
	c.forget(p)
}

// forget removes p if it is of no use any more.
func (c *connections) forget(p *pool) {
	if p.requests == 0 && p.open == 0 {
		c.order.Remove(p.place)
		delete(c.pools, p.key)
	}
}

// closeIdle closes all that no request is using.
func (c *connections) closeIdle() {
	c.mu.Lock()
	var all []*pool
	for _, p := range c.pools {
		all = append(all, p)
	}
	c.mu.Unlock()
	for _, p := range all {
		p.http.CloseIdleConnections()
	}
}

// A countedConn says once that it is closed.
type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

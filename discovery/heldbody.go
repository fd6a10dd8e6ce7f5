package discovery

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

var errBodyRead = errors.New("the body was read and cannot be read again")

// A heldBody is a request's body that outlives an attempt to connect: net/http
// closes it when the attempt fails, which is passed on only once there is to be no other
// attempt.
type heldBody struct {
	mu     sync.Mutex
	body   io.ReadCloser
	read   bool // something of it, perhaps
	closed bool // by net/http, in this attempt
	free   bool // there is to be no other attempt
	done   bool // it is closed
}

// holdBody returns nil if there is no body to hold.
func holdBody(req *http.Request) *heldBody {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	return &heldBody{body: req.Body}
}

// reader returns b, or, if that is nil, what there is instead.
func (b *heldBody) reader(instead io.ReadCloser) io.ReadCloser {
	if b == nil {
		return instead
	}
	return b
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	body := b.body
	b.mu.Unlock()
	return body.Read(p) // may take its time
}

func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.settle()
}

// release says that there is to be no other attempt. b may be nil.
func (b *heldBody) release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = true
	_ = b.settle()
}

// settle closes the body, once, if it is time to.
func (b *heldBody) settle() error {
	if !b.closed || !b.free || b.done {
		return nil
	}
	b.done = true
	return b.body.Close()
}

// rewind makes the body ready for the next attempt, from its beginning. b may be nil.
func (b *heldBody) rewind(req *http.Request) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
	if !b.read {
		return nil
	}
	if req.GetBody == nil {
		b.closed = true
		return errBodyRead
	}
	again, err := req.GetBody()
	if err != nil {
		b.closed = true
		return err
	}
	_ = b.body.Close()
	b.body, b.read = again, false
	return nil
}

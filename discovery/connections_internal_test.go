package discovery

import (
	"errors"
	"net/http"
	"testing"
)

// net/http begins to connect in a goroutine of its own, perhaps only when the request has
// been given up.
func TestNoConnectionIsMadeForAPoolThatIsForgotten(t *testing.T) {
	c := newConnections(func(*pool) *http.Transport { return new(http.Transport) })
	p := c.enter("a.ex:8448")
	c.leave(p)
	for _, other := range []bool{false, true} {
		if other {
			c.enter("a.ex:8448")
		}
		if err := c.opening(t.Context(), p); !errors.Is(err, errOver) || c.open != 0 {
			t.Errorf("got %v, %d connections", err, c.open)
		}
	}
}

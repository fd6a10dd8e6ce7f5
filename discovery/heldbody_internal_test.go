package discovery

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A countedBody is a body that knows what was done to it.
type countedBody struct {
	io.Reader
	closes int
}

func (r *countedBody) Close() error {
	r.closes++
	return nil
}

func held(text string) (*heldBody, *countedBody, *http.Request) {
	body := &countedBody{Reader: strings.NewReader(text)}
	req := &http.Request{Body: body}
	return holdBody(req), body, req
}

func TestHeldBodyIsClosedOnceReleasedAndClosed(t *testing.T) {
	closing := func(b *heldBody, _ *http.Request) { _ = b.Close() }
	releasing := func(b *heldBody, _ *http.Request) { b.release() }
	rewinding := func(b *heldBody, req *http.Request) { _ = b.rewind(req) }
	type action = func(*heldBody, *http.Request)
	for name, c := range map[string]struct {
		actions []action
		want    int
	}{
		"closed":                        {[]action{closing}, 0},
		"released":                      {[]action{releasing}, 0},
		"closed, released":              {[]action{closing, releasing}, 1},
		"released, closed":              {[]action{releasing, closing}, 1},
		"again and again":               {[]action{closing, closing, releasing, releasing, closing}, 1},
		"rewound":                       {[]action{closing, rewinding}, 0},
		"in use when released":          {[]action{closing, rewinding, releasing}, 0},
		"closed in the second attempt":  {[]action{closing, rewinding, releasing, closing}, 1},
		"closed in the second, earlier": {[]action{closing, rewinding, closing, releasing}, 1},
	} {
		b, body, req := held("x")
		for _, act := range c.actions {
			act(b, req)
		}
		if body.closes != c.want {
			t.Errorf("%s: got %d, want %d", name, body.closes, c.want)
		}
	}
}

func TestHeldBodyThatWasReadIsReadAgainFromItsBeginning(t *testing.T) {
	b, first, req := held("text")
	second := &countedBody{Reader: strings.NewReader("text")}
	req.GetBody = func() (io.ReadCloser, error) { return second, nil }
	_, _ = b.Read(make([]byte, 2))
	_ = b.Close()
	if err := b.rewind(req); err != nil || first.closes != 1 {
		t.Errorf("got %v, %d closes", err, first.closes)
	}
	text, err := io.ReadAll(b)
	_ = b.Close()
	b.release()
	if string(text) != "text" || err != nil || first.closes != 1 || second.closes != 1 {
		t.Errorf("got %q, %v, %d and %d closes", text, err, first.closes, second.closes)
	}
}

func TestHeldBodyThatCannotBeReadAgain(t *testing.T) {
	enough := errors.New("enough")
	for _, c := range []struct {
		again func() (io.ReadCloser, error)
		want  error
	}{{nil, errBodyRead}, {func() (io.ReadCloser, error) { return nil, enough }, enough}} {
		b, body, req := held("text")
		req.GetBody = c.again
		_, _ = b.Read(make([]byte, 2))
		_ = b.Close()
		if err := b.rewind(req); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
		b.release()
		if body.closes != 1 {
			t.Errorf("got %d closes", body.closes)
		}
	}
}

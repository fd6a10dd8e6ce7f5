package fedinvite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// An exchange is the HTTP side of a delivery.
type exchange struct {
	w           http.ResponseWriter
	r           *http.Request
	credentials Credentials
	body        []byte
}

// ServeHTTP answers PUT /_matrix/federation/v1/invite/{roomId}/{eventId} and its
// v2 (server-server API, "Inviting to a room"). It takes the path from the request
// as it was sent and splits it itself, so that it may be mounted on any router,
// under [http.StripPrefix] too, as long as the router does not redirect. Other
// paths get 404 M_UNRECOGNIZED, other methods 405 M_UNRECOGNIZED. Every error has
// a JSON body; see [WireError].
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r := &receipt{config: &rc.config, http: &exchange{w: w, r: req}}
	ctx := req.Context()
	err := r.run(ctx, func(phase) bool { return true })
	r.done(ctx, err)
	r.http.respond(r, err)
}

// setReadDeadline bounds the time for the body, also on a server that sets no
// timeouts. After a refusal net/http reads what is left of a body before it
// answers, so the deadline is there from the start. Not every ResponseWriter can do
// this; servers with others have to bound the time themselves.
func (x *exchange) setReadDeadline(t time.Time) {
	_ = http.NewResponseController(x.w).SetReadDeadline(t)
}

func (x *exchange) respond(r *receipt, err error) {
	status, body := http.StatusOK, []byte(nil)
	if err == nil {
		body = r.body()
	} else {
		e := WireError(err)
		if e.RetryAfter > 0 && e.Code == CodeLimitExceeded {
			seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
			x.w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
		status = e.HTTPStatus()
		var failed error
		if body, failed = json.Marshal(e); failed != nil {
			body = []byte(`{"errcode":"M_UNKNOWN","error":"internal error"}`)
		}
	}
	if err != nil && x.body == nil && x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close") // rather than wait for the body
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a peer that hung up will ask again
}

// body is the answer that [Response] would write; the event is known to be sound.
func (r *receipt) body() []byte {
	before, after := `{"event":`, `}`
	if r.delivery.V1 {
		before, after = `[200,{"event":`, `}]`
	}
	return append(r.event.AppendJSON([]byte(before)), after...)
}

const (
	pathV1 = "/_matrix/federation/v1/invite/"
	pathV2 = "/_matrix/federation/v2/invite/"
)

// checkPath reads room ID and event ID from the target as it was sent: each
// segment is unescaped once, after splitting.
func checkPath(_ context.Context, r *receipt) error {
	r.delivery.Remote, _ = netip.ParseAddrPort(r.http.r.RemoteAddr)
	unknown := &Error{Code: CodeUnrecognized, Status: http.StatusNotFound, Message: "no such endpoint"}
	path := escapedPath(r.http.r)
	rest, v2 := strings.CutPrefix(path, pathV2)
	if !v2 {
		var v1 bool
		if rest, v1 = strings.CutPrefix(path, pathV1); !v1 {
			return unknown
		}
	}
	room, event, ok := strings.Cut(rest, "/")
	if !ok || strings.Contains(event, "/") {
		return unknown
	}
	var errRoom, errEvent error
	r.delivery.V1 = !v2
	r.delivery.RoomID, errRoom = url.PathUnescape(room)
	r.delivery.EventID, errEvent = url.PathUnescape(event)
	if errRoom != nil || errEvent != nil || room == "" || event == "" {
		return unknown
	}
	return nil
}

// escapedPath returns the path of the request target as the peer sent it, whatever
// a router has made of r.URL since.
func escapedPath(r *http.Request) string {
	target := r.RequestURI
	if target == "" { // not from a server
		return r.URL.EscapedPath()
	}
	if _, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		_, rest, _ = strings.Cut(rest, "/")
		target = "/" + rest
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

func checkMethod(_ context.Context, r *receipt) error {
	if r.http.r.Method == http.MethodPut {
		return nil
	}
	r.http.w.Header().Set("Allow", http.MethodPut)
	return &Error{Code: CodeUnrecognized, Status: http.StatusMethodNotAllowed, Message: "use PUT"}
}

func readCredentials(_ context.Context, r *receipt) error {
	if r.config.Credentials == nil {
		return errors.New("Config.Credentials is missing: requests cannot be authenticated")
	}
	c, err := r.config.Credentials(r.http.r)
	if err != nil {
		return err
	}
	if c.Verify == nil {
		return errors.New("Config.Credentials returned no Verify")
	}
	r.http.credentials = c
	r.delivery.Origin = c.Origin
	r.delivery.Destination = c.Destination
	return nil
}

// readBody reads no more than the limit and no longer than the deadline that is
// set for it.
func readBody(_ context.Context, r *receipt) error {
	x, limit := r.http, r.config.MaxBody
	if x.r.Body == nil { // not from a server
		return nil
	}
	if x.r.ContentLength > limit {
		return fmt.Errorf("%w: body of %d bytes, more than %d", ErrTooLarge, x.r.ContentLength, limit)
	}
	var b bytes.Buffer
	const trusted = 1 << 16 // a claimed length is not worth more memory than this
	b.Grow(int(min(max(x.r.ContentLength, 0), trusted)) + bytes.MinRead)
	_, err := io.Copy(&b, http.MaxBytesReader(x.w, x.r.Body, limit))
	if err == nil {
		x.setReadDeadline(time.Time{})
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: body of more than %d bytes", ErrTooLarge, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Code: CodeUnknown, Status: http.StatusRequestTimeout, Message: "the body took too long", Err: err}
	case err != nil:
		return fmt.Errorf("%w: reading the body: %v", ErrNotJSON, err)
	}
	x.body = b.Bytes()
	return nil
}

func parseBody(_ context.Context, r *receipt) (err error) {
	parse := ParseRequestV2
	if r.delivery.V1 {
		parse = ParseRequestV1
	}
	r.delivery.Request, err = parse(r.http.body)
	return err
}

// verifyRequest turns a failed check into ErrUnauthorized; keys that cannot be had
// stay what they are.
func verifyRequest(ctx context.Context, r *receipt) error {
	err := r.http.credentials.Verify(ctx, r.http.body)
	if !errors.Is(err, ErrUnauthorized) && (errors.Is(err, ErrSignature) || errors.Is(err, ErrUnknownKey)) {
		return fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return err
}

package fedinvite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
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

func (x *exchange) respond(r *receipt, err error) {
	if err == nil {
		writeBody(x.w, http.StatusOK, r.body())
		return
	}
	if x.body == nil && x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close") // rather than wait for the body
	}
	WriteError(x.w, err)
}

// WriteError answers a request with the status and the JSON body that [WireError]
// gives for err, and Retry-After where it has a time (client-server API, "Standard
// error response"). It is for endpoints beside the ones of [Receiver].
func WriteError(w http.ResponseWriter, err error) {
	e := WireError(err)
	if e == nil {
		e = &Error{Code: CodeUnknown, Status: http.StatusInternalServerError, Message: "internal error"}
	}
	if e.RetryAfter > 0 && e.Code == CodeLimitExceeded {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	body, failed := json.Marshal(e)
	if failed != nil {
		body = []byte(`{"errcode":"M_UNKNOWN","error":"internal error"}`)
	}
	writeBody(w, e.HTTPStatus(), body)
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a peer that hung up will ask again
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
	path := inbound.Path(r.http.r)
	ids, ok := inbound.Segments(path, pathV2, 2)
	if !ok {
		if ids, ok = inbound.Segments(path, pathV1, 2); !ok {
			return &Error{
				Code: CodeUnrecognized, Status: http.StatusNotFound, Message: "no such endpoint",
				Err: fmt.Errorf("%q is no path of an invite", clip(path)), // a proxy may have changed it
			}
		}
		r.delivery.V1 = true
	}
	r.delivery.RoomID, r.delivery.EventID = ids[0], ids[1]
	return nil
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
	body, err := inbound.ReadBody(r.http.w, r.http.r, r.config.MaxBody)
	switch {
	case errors.Is(err, inbound.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, inbound.ErrTooSlow):
		return &Error{Code: CodeUnknown, Status: http.StatusRequestTimeout, Message: inbound.ErrTooSlow.Error(), Err: err}
	case err != nil:
		return fmt.Errorf("%w: %v", ErrNotJSON, err)
	}
	r.http.body = body
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

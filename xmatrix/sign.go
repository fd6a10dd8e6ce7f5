package xmatrix

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Sign signs req, which carries body, as a request of signer's server to the server
// named to, and sets its Authorization header, in place of any that is there. to is
// the name before delegation, whatever host the request goes to. Sign again if
// method, URL or body change.
//
// It signs the target that [net/http] sends: path and query of req.URL as
// [net/url.URL.RequestURI] writes them. Build paths with [net/url.PathEscape] for
// each segment and [net/url.Parse] for the whole, so that IDs keep their slashes.
//
// body is nil or empty if there is none; a GET or HEAD must have none. Else it must
// be one JSON object; errors wrap [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON].
// Malformed names and targets are refused, and the signer's errors returned.
func Sign(ctx context.Context, req *http.Request, body []byte, to fedinvite.ServerName, signer fedinvite.Signer) error {
	r, err := outbound(req, len(body) > 0, to, signer)
	if err != nil {
		return err
	}
	message, err := r.message(body)
	if err != nil {
		return fmt.Errorf("xmatrix: signing a request: %w", err)
	}
	return r.sign(ctx, req, message, signer)
}

// SignCanonical is Sign for a body that is known to be canonical JSON, an object put
// together from what [fedinvite.CanonicalJSON] and [fedinvite.Event.AppendJSON] return: it
// is signed as it is, unread, so that it need not be in one piece. A signature over anything
// else is worth nothing.
func SignCanonical(ctx context.Context, req *http.Request, body [][]byte, to fedinvite.ServerName, signer fedinvite.Signer) error {
	r, err := outbound(req, len(body) > 0, to, signer)
	if err != nil {
		return err
	}
	message, err := r.canonicalMessage(body)
	if err != nil {
		return fmt.Errorf("xmatrix: signing a request: %w", err)
	}
	return r.sign(ctx, req, message, signer)
}

// outbound checks what there is to be signed, but for the body.
func outbound(req *http.Request, hasBody bool, to fedinvite.ServerName, signer fedinvite.Signer) (request, error) {
	if signer == nil {
		return request{}, errors.New("xmatrix: no signer")
	}
	r := request{cmp.Or(req.Method, http.MethodGet), req.URL.RequestURI(), signer.ServerName(), to}
	if _, err := fedinvite.ParseServerName(string(r.origin)); err != nil {
		return request{}, fmt.Errorf("xmatrix: origin: %w", err)
	}
	if _, err := fedinvite.ParseServerName(string(to)); err != nil {
		return request{}, fmt.Errorf("xmatrix: destination: %w", err)
	}
	if _, err := fedinvite.ParseKeyID(string(signer.KeyID())); err != nil {
		return request{}, fmt.Errorf("xmatrix: %w", err)
	}
	if hasBody && bodiless(r.method) {
		return request{}, fmt.Errorf("xmatrix: a %s request must have no body", r.method)
	}
	if err := checkTarget(r.target); err != nil {
		return request{}, fmt.Errorf("xmatrix: signing a request: %w", err)
	}
	return r, nil
}

// sign sets the header.
func (r *request) sign(ctx context.Context, req *http.Request, message []byte, signer fedinvite.Signer) error {
	signature, err := signer.Sign(ctx, message)
	if err != nil {
		return fmt.Errorf("xmatrix: signing as %s: %w", r.origin, err)
	}
	if len(signature) != ed25519.SignatureSize {
		return fmt.Errorf("xmatrix: signing as %s: the signer returned %d bytes", r.origin, len(signature))
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header["Authorization"] = []string{r.header(signer.KeyID(), signature)}
	return nil
}

// header is Auth.String for names that were checked: there is nothing to escape in them.
func (r *request) header(id fedinvite.KeyID, signature []byte) string {
	var sig [(ed25519.SignatureSize*8 + 5) / 6]byte
	base64.RawStdEncoding.Encode(sig[:], signature)
	return scheme + ` origin="` + string(r.origin) + `",destination="` + string(r.destination) +
		`",key="` + string(id) + `",sig="` + string(sig[:]) + `"`
}

// canonicalMessage is message without a look into the body.
func (r *request) canonicalMessage(body [][]byte) ([]byte, error) {
	rest, err := r.message(nil)
	if err != nil || len(body) == 0 {
		return rest, err
	}
	pieces := append(make([][]byte, 0, 64), []byte(`{"content":`))
	pieces = append(pieces, body...)
	return bytes.Join(append(pieces, []byte(","), rest[1:]), nil), nil
}

// bodiless reports whether peers take no body of such requests into account.
func bodiless(method string) bool { return method == http.MethodGet || method == http.MethodHead }

package xmatrix

import (
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
	if signer == nil {
		return errors.New("xmatrix: no signer")
	}
	a := Auth{Origin: signer.ServerName(), Destination: to, Key: signer.KeyID()}
	if _, err := fedinvite.ParseServerName(string(a.Origin)); err != nil {
		return fmt.Errorf("xmatrix: origin: %w", err)
	}
	if _, err := fedinvite.ParseServerName(string(to)); err != nil {
		return fmt.Errorf("xmatrix: destination: %w", err)
	}
	if _, err := fedinvite.ParseKeyID(string(a.Key)); err != nil {
		return fmt.Errorf("xmatrix: %w", err)
	}
	method := cmp.Or(req.Method, http.MethodGet)
	if len(body) > 0 && bodiless(method) {
		return fmt.Errorf("xmatrix: a %s request must have no body", method)
	}
	r := request{method, req.URL.RequestURI(), a.Origin, to}
	if err := checkTarget(r.target); err != nil {
		return fmt.Errorf("xmatrix: signing a request: %w", err)
	}
	message, err := r.message(body)
	if err != nil {
		return fmt.Errorf("xmatrix: signing a request: %w", err)
	}
	signature, err := signer.Sign(ctx, message)
	if err != nil {
		return fmt.Errorf("xmatrix: signing as %s: %w", a.Origin, err)
	}
	if len(signature) != ed25519.SignatureSize {
		return fmt.Errorf("xmatrix: signing as %s: the signer returned %d bytes", a.Origin, len(signature))
	}
	a.Sig = base64.RawStdEncoding.EncodeToString(signature)
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header.Set("Authorization", a.String())
	return nil
}

// bodiless reports whether peers take no body of such requests into account.
func bodiless(method string) bool { return method == http.MethodGet || method == http.MethodHead }

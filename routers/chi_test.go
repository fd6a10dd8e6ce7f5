package routers

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func mountChi(receiver http.Handler) http.Handler {
	// book: routers.md
	router := chi.NewRouter()
	router.Handle("/_matrix/federation/v1/invite/*", receiver)
	router.Handle("/_matrix/federation/v2/invite/*", receiver)
	// book: end
	return router
}

// A sub-router takes the front off its own path only.
func mountChiRoute(receiver http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Route("/_matrix/federation", func(r chi.Router) {
		r.Handle("/v1/invite/*", receiver)
		r.Handle("/v2/invite/*", receiver)
	})
	return router
}

// Cleaning changes which route is taken, and not what the Receiver reads.
func mountChiCleanPath(receiver http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Use(middleware.CleanPath)
	router.Handle("/_matrix/federation/v1/invite/*", receiver)
	router.Handle("/_matrix/federation/v2/invite/*", receiver)
	return router
}

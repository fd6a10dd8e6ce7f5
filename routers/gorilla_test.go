package routers

import (
	"net/http"

	"github.com/gorilla/mux"
)

func mountGorilla(receiver http.Handler) http.Handler {
	// book: routers.md
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.PathPrefix("/_matrix/federation/v1/invite/").Handler(receiver)
	router.PathPrefix("/_matrix/federation/v2/invite/").Handler(receiver)
	// book: end
	return router
}

// Without SkipClean the router redirects where an ID has two slashes in a row.
func mountGorillaPlain(receiver http.Handler) http.Handler {
	router := mux.NewRouter()
	router.PathPrefix(v1).Handler(receiver)
	router.PathPrefix(v2).Handler(receiver)
	return router
}

// Without UseEncodedPath a slash of an ID is one of the path.
func mountGorillaVariables(receiver http.Handler) http.Handler {
	router := mux.NewRouter().SkipClean(true)
	router.Handle(v1+"{roomId}/{eventId}", receiver)
	router.Handle(v2+"{roomId}/{eventId}", receiver)
	return router
}

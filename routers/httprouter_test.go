package routers

import (
	"net/http"

	"github.com/julienschmidt/httprouter"
)

func mountHTTPRouter(receiver http.Handler) http.Handler {
	// book: routers.md
	router := httprouter.New()
	router.Handler(http.MethodPut, "/_matrix/federation/v1/invite/*ids", receiver)
	router.Handler(http.MethodPut, "/_matrix/federation/v2/invite/*ids", receiver)
	// book: end
	return router
}

// A slash of an ID is one of the path.
func mountHTTPRouterParameters(receiver http.Handler) http.Handler {
	router := httprouter.New()
	router.Handler(http.MethodPut, v1+":roomId/:eventId", receiver)
	router.Handler(http.MethodPut, v2+":roomId/:eventId", receiver)
	return router
}

package routers

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

func mountEcho(receiver http.Handler) http.Handler {
	// book: routers.md
	router := echo.New()
	router.Any("/_matrix/federation/v1/invite/*", echo.WrapHandler(receiver))
	router.Any("/_matrix/federation/v2/invite/*", echo.WrapHandler(receiver))
	// book: end
	return router
}

func mountEchoParameters(receiver http.Handler) http.Handler {
	router := echo.New()
	router.PUT(v1+":roomId/:eventId", echo.WrapHandler(receiver))
	router.PUT(v2+":roomId/:eventId", echo.WrapHandler(receiver))
	return router
}

package routers

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

func mountGin(receiver http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	// book: routers.md
	router := gin.New()
	router.Any("/_matrix/federation/v1/invite/*ids", gin.WrapH(receiver))
	router.Any("/_matrix/federation/v2/invite/*ids", gin.WrapH(receiver))
	// book: end
	return router
}

// A slash of an ID is one of the path.
func mountGinParameters(receiver http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.PUT(v1+":roomId/:eventId", gin.WrapH(receiver))
	router.PUT(v2+":roomId/:eventId", gin.WrapH(receiver))
	return router
}

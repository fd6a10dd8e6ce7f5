package routers

import "net/http"

// The subtree of each version goes to the Receiver, whatever is below.
func mountServeMux(receiver http.Handler) http.Handler {
	// book: routers.md
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)
	// book: end
	return mux
}

func mountServeMuxPattern(receiver http.Handler) http.Handler {
	mux := http.NewServeMux()
	// book: routers.md
	mux.Handle("PUT /_matrix/federation/v1/invite/{roomId}/{eventId}", receiver)
	mux.Handle("PUT /_matrix/federation/v2/invite/{roomId}/{eventId}", receiver)
	// book: end
	return mux
}

func mountStripPrefix(receiver http.Handler) http.Handler {
	mux := http.NewServeMux()
	// book: routers.md
	federation := http.NewServeMux()
	federation.Handle("/v1/invite/", receiver)
	federation.Handle("/v2/invite/", receiver)
	mux.Handle("/_matrix/federation/", http.StripPrefix("/_matrix/federation", federation))
	// book: end
	return mux
}

// Package routers tests the Receiver under the routers that people mount it on.
package routers

// Package interop holds no code of its own: its tests install a real Synapse,
// run it beside the fedinvite command on the loopback interface, and have the
// two servers invite each other's users in every room version that Synapse can
// create. See README.md for how to run them.
package interop

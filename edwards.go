package fedinvite

import (
	"bytes"
	"encoding/hex"
)

// acceptablePoint reports whether the 32 bytes p are an encoded point that
// libsodium would take: in canonical form and not of small order. It need not be
// on the curve; crypto/ed25519 sees to that.
//
// crypto/ed25519 accepts small-order points as a public key and as the R of a
// signature, with which one signature fits every message. Peers refuse both, so
// accepting them here would split rooms.
func acceptablePoint(p []byte) bool {
	var y [32]byte // little endian, without the sign of x
	if copy(y[:], p) != len(y) || len(p) != len(y) {
		return false
	}
	y[31] &= 0x7f
	if y[31] == 0x7f && y[0] >= 0xec && bytes.Equal(y[1:31], fieldPrime[1:31]) {
		return false // y ≥ p−1: order 2, or not reduced
	}
	for i := range smallOrder {
		if y == smallOrder[i] {
			return false
		}
	}
	return true
}

// fieldPrime is p = 2^255 − 19.
var fieldPrime = point("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")

// smallOrder holds the y of the other points whose order divides 8.
var smallOrder = [...][32]byte{
	point("0100000000000000000000000000000000000000000000000000000000000000"), // order 1
	point("0000000000000000000000000000000000000000000000000000000000000000"), // order 4
	point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), // order 8
	point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), // order 8
}

func point(s string) (p [32]byte) {
	_, _ = hex.Decode(p[:], []byte(s))
	return p
}

package fedinvite

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/crypto/ed25519"
)

// The curve -x² + y² = 1 + d·x²·y² over the integers modulo p = 2²⁵⁵ − 19, in the
// slow words of math/big (RFC 8032, section 5.1).
type curve struct{ p, d *big.Int }

type affine struct{ x, y *big.Int }

func edwards25519() curve {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	return curve{p, d}
}

func (c curve) mul(a, b *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(a, b), c.p) }

// add is the complete addition law.
func (c curve) add(a, b affine) affine {
	one := big.NewInt(1)
	dxy := c.mul(c.d, c.mul(c.mul(a.x, b.x), c.mul(a.y, b.y)))
	x := new(big.Int).Add(c.mul(a.x, b.y), c.mul(a.y, b.x))
	y := new(big.Int).Add(c.mul(a.y, b.y), c.mul(a.x, b.x))
	x = c.mul(x, new(big.Int).ModInverse(new(big.Int).Add(one, dxy), c.p))
	y = c.mul(y, new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, dxy), c.p), c.p))
	return affine{x, y}
}

func (c curve) times(n *big.Int, a affine) affine {
	sum := affine{new(big.Int), big.NewInt(1)}
	for i := n.BitLen() - 1; i >= 0; i-- {
		sum = c.add(sum, sum)
		if n.Bit(i) == 1 {
			sum = c.add(sum, a)
		}
	}
	return sum
}

// lift returns the point with the given y whose x is even, if there is one.
func (c curve) lift(y *big.Int) (affine, bool) {
	one := big.NewInt(1)
	yy := c.mul(y, y)
	u := new(big.Int).Mod(new(big.Int).Sub(yy, one), c.p)
	v := new(big.Int).Add(c.mul(c.d, yy), one)
	x := new(big.Int).ModSqrt(c.mul(u, new(big.Int).ModInverse(v, c.p)), c.p)
	if x == nil {
		return affine{}, false
	}
	if x.Bit(0) == 1 {
		x.Sub(c.p, x)
	}
	return affine{x, new(big.Int).Mod(y, c.p)}, true
}

// encoding writes y, little endian, and the sign of x, whatever they are.
func encoding(y *big.Int, sign uint) []byte {
	b := y.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	b[31] |= byte(sign << 7)
	return b
}

// torsion computes the eight points whose order divides 8.
func (c curve) torsion(t *testing.T) []affine {
	t.Helper()
	// The order of the group is 8·l.
	l, ok := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	if !ok || !l.ProbablyPrime(20) {
		t.Fatal("l is wrong")
	}
	identity := affine{new(big.Int), big.NewInt(1)}
	for y := int64(2); ; y++ {
		point, ok := c.lift(big.NewInt(y))
		if !ok {
			continue
		}
		generator := c.times(l, point)
		points := []affine{identity}
		for next := generator; next.x.Sign() != 0 || next.y.Cmp(identity.y) != 0; next = c.add(next, generator) {
			points = append(points, next)
		}
		if len(points) == 8 {
			return points
		}
	}
}

func TestPointsOfSmallOrderAreRefused(t *testing.T) {
	c := edwards25519()
	small := map[string]bool{}
	for _, point := range c.torsion(t) {
		for _, sign := range []uint{0, 1} { // with either sign: libsodium does not look at it
			if acceptablePoint(encoding(point.y, sign)) {
				t.Errorf("y = %v with sign %d is accepted", point.y, sign)
			}
		}
		small[point.y.String()] = true
	}
	// The table is exactly these; p−1 is refused by the check of the canonical form.
	if len(small) != 5 || len(smallOrder) != 4 {
		t.Errorf("%d values of y are of small order; the table has %d", len(small), len(smallOrder))
	}
	for _, encoded := range smallOrder {
		y := slices.Clone(encoded[:])
		slices.Reverse(y)
		if !small[new(big.Int).SetBytes(y).String()] {
			t.Errorf("%x is in the table and not of small order", encoded)
		}
	}
}

func TestEncodingsThatAreNotReducedAreRefused(t *testing.T) {
	c := edwards25519()
	small := map[string]bool{}
	for _, point := range c.torsion(t) {
		small[point.y.String()] = true
	}
	top := new(big.Int).Lsh(big.NewInt(1), 255)
	seen := 0
	for _, around := range []*big.Int{new(big.Int), c.p, new(big.Int).Rsh(c.p, 1), new(big.Int).Rsh(c.p, 8)} {
		for delta := int64(-100); delta < 100; delta++ {
			y := new(big.Int).Add(around, big.NewInt(delta))
			if y.Sign() < 0 || y.Cmp(top) >= 0 {
				continue
			}
			seen++
			want := y.Cmp(c.p) < 0 && !small[y.String()]
			for _, sign := range []uint{0, 1} {
				if got := acceptablePoint(encoding(y, sign)); got != want {
					t.Errorf("y = p%+v, sign %d: accepted: %v", new(big.Int).Sub(y, c.p), sign, got)
				}
			}
		}
	}
	if seen < 400 {
		t.Errorf("only %d encodings tried", seen)
	}
}

// Every byte of the comparison with p counts.
func TestEncodingsBelowThePrimeAreAccepted(t *testing.T) {
	c := edwards25519()
	for bit := range 255 {
		y := new(big.Int).Sub(c.p, big.NewInt(1))
		if y.Bit(bit) == 0 {
			continue
		}
		y.SetBit(y, bit, 0)
		if !acceptablePoint(encoding(y, 0)) {
			t.Errorf("p−1 without bit %d is refused", bit)
		}
	}
}

func TestPointsOfTheWrongLengthAreRefused(t *testing.T) {
	good := ed25519.NewKeyFromSeed(make([]byte, 32))[32:]
	if !acceptablePoint(good) {
		t.Fatal("a public key is refused")
	}
	for _, length := range []int{0, 1, 31, 33, 64} {
		if acceptablePoint(append(slices.Clone(good), good...)[:length]) {
			t.Errorf("%d bytes are accepted", length)
		}
	}
}

func TestEveryPublicKeyIsAccepted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seed := make([]byte, ed25519.SeedSize)
	for range 500 {
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		key := ed25519.NewKeyFromSeed(seed)
		if !acceptablePoint(key[32:]) {
			t.Errorf("the public key of %x is refused", seed)
		}
		if signature := ed25519.Sign(key, seed); !acceptablePoint(signature[:32]) {
			t.Errorf("the signature by %x is refused", seed)
		}
	}
}

package fedinvite

import (
	"math"
	"strconv"
)

const (
	maxInteger              = "9007199254740991" // 2^53−1
	maxLegacyDigits         = 4300               // what Python turns into an integer
	minFixed                = 1e-4               // Python's repr writes floats from here
	maxFixed        float64 = 1e16               // to below this without an exponent
)

// number reads a number.
func (e *encoder) number(i int) int {
	end, isInteger := skipNumber(e.src, i)
	if end < 0 {
		return e.fail(^end, ErrNotJSON)
	}
	token := e.src[i:end]
	switch {
	case isInteger && string(token) == "-0":
		e.flush(i)
		e.text = append(e.text, '0')
		e.copied = end
	case isInteger && integerFits(token):
	case e.numbers != legacyNumbers:
		return e.fail(i, ErrBadNumber)
	case isInteger:
		if len(token) > maxLegacyDigits && len(digits(token)) > maxLegacyDigits {
			return e.fail(i, ErrBadNumber)
		}
	default:
		f, err := strconv.ParseFloat(string(token), 64)
		if err != nil { // out of range
			return e.fail(i, ErrBadNumber)
		}
		e.flush(i)
		e.text = appendPythonFloat(e.text, f)
		e.copied = end
	}
	return end
}

func digits(integer []byte) []byte {
	if integer[0] == '-' {
		return integer[1:]
	}
	return integer
}

// integerFits reports whether an integer is in ±(2^53−1).
func integerFits(token []byte) bool {
	if len(token) < len(maxInteger) {
		return true
	}
	d := digits(token)
	return len(d) < len(maxInteger) || len(d) == len(maxInteger) && string(d) <= maxInteger
}

// skipNumber returns the index after the number at src[i], and whether it has
// neither fraction nor exponent. If the grammar of RFC 8259 is broken at
// src[j], end is ^j.
func skipNumber(src []byte, i int) (end int, isInteger bool) {
	if i < len(src) && src[i] == '-' {
		i++
	}
	j := skipDigits(src, i)
	if j == i {
		return ^i, false
	}
	if src[i] == '0' && j > i+1 {
		return ^(i + 1), false
	}
	end = j
	if j < len(src) && src[j] == '.' {
		if end = skipDigits(src, j+1); end == j+1 {
			return ^end, false
		}
	}
	if end < len(src) && src[end]|0x20 == 'e' {
		k := end + 1
		if k < len(src) && (src[k] == '+' || src[k] == '-') {
			k++
		}
		if end = skipDigits(src, k); end == k {
			return ^end, false
		}
	}
	return end, end == j
}

func skipDigits(src []byte, i int) int {
	for i < len(src) && '0' <= src[i] && src[i] <= '9' {
		i++
	}
	return i
}

// appendPythonFloat appends repr(f) of Python: the shortest digits that read
// back as f, always with a point or an exponent.
func appendPythonFloat(dst []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < minFixed || a >= maxFixed) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[n:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

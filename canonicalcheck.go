package fedinvite

import "bytes"

// isCanonical reports whether src is sure to be canonical JSON under every
// number rule. It gives up at the first thing that might not be, or that is
// rare: what it says no to may be canonical.
func isCanonical(src []byte) bool {
	return len(src) > 0 && checkValue(src, 0, 0) == len(src)
}

// The functions below return the index after what they checked, or -1.

func checkValue(src []byte, i, depth int) int {
	if i >= len(src) {
		return -1
	}
	switch c := src[i]; c {
	case '"':
		return checkString(src, i+1)
	case '{':
		return checkObject(src, i+1, depth+1)
	case '[':
		return checkArray(src, i+1, depth+1)
	case 't':
		return checkLiteral(src, i, "true")
	case 'f':
		return checkLiteral(src, i, "false")
	case 'n':
		return checkLiteral(src, i, "null")
	default:
		return checkInteger(src, i)
	}
}

func checkLiteral(src []byte, i int, want string) int {
	if len(src)-i < len(want) || string(src[i:i+len(want)]) != want {
		return -1
	}
	return i + len(want)
}

func checkObject(src []byte, i, depth int) int {
	if depth > maxDepth || i >= len(src) {
		return -1
	}
	if src[i] == '}' {
		return i + 1
	}
	var previous []byte
	for first := true; ; first = false {
		if i >= len(src) || src[i] != '"' {
			return -1
		}
		end := skipText(src, i+1)
		if end+1 >= len(src) || src[end] != '"' || src[end+1] != ':' {
			return -1
		}
		key := src[i+1 : end]
		if !first && bytes.Compare(previous, key) >= 0 {
			return -1
		}
		previous = key
		if i = checkValue(src, end+2, depth); i < 0 || i >= len(src) {
			return -1
		}
		switch src[i] {
		case ',':
			i++
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

func checkArray(src []byte, i, depth int) int {
	if depth > maxDepth || i >= len(src) {
		return -1
	}
	if src[i] == ']' {
		return i + 1
	}
	for {
		if i = checkValue(src, i, depth); i < 0 || i >= len(src) {
			return -1
		}
		switch src[i] {
		case ',':
			i++
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

func checkString(src []byte, i int) int {
	for {
		i = skipText(src, i)
		if i >= len(src) {
			return -1
		}
		if src[i] == '"' {
			return i + 1
		}
		if src[i] != '\\' || i+1 >= len(src) {
			return -1
		}
		switch src[i+1] {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			i += 2
		default:
			return -1
		}
	}
}

// checkInteger knows integers of up to 15 digits.
func checkInteger(src []byte, i int) int {
	start := i
	if src[i] == '-' {
		start++
	}
	end := skipDigits(src, start)
	switch {
	case end == start || end-start >= len(maxInteger):
		return -1
	case src[start] == '0' && (end > start+1 || start > i):
		return -1
	}
	return end
}

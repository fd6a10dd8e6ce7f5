package eventauth

import (
	"math"
	"strconv"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// parseLevel reads a value of an m.room.power_levels event, in canonical JSON, as its
// room version does (each version's page, "m.room.power_levels events accept values as
// strings" and "as floats").
func parseLevel(raw string, format fedinvite.PowerLevelFormat) (Level, bool) {
	if s, ok := text(raw); ok {
		return parseText(s, format)
	}
	if raw == "" || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false // an object, an array, true, false or null
	}
	if strings.ContainsAny(raw, ".eE") {
		return parseFloat(raw, format)
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	return Level(n), err == nil
}

// parseText reads an integer with any white space around it, a sign or none, and any
// number of leading zeros.
func parseText(s string, format fedinvite.PowerLevelFormat) (Level, bool) {
	if format == fedinvite.PowerLevelIntegers {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return Level(n), err == nil
}

// parseFloat cuts off what is behind the decimal point, once the exponent is applied.
func parseFloat(raw string, format fedinvite.PowerLevelFormat) (Level, bool) {
	if format != fedinvite.PowerLevelLoose {
		return 0, false
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || f < math.MinInt64 || f >= -math.MinInt64 {
		return 0, false
	}
	return Level(f), true // which truncates towards zero
}

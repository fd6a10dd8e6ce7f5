package fedinvite_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// inviteEvent is an invite as some servers send it, its keys in no order.
const inviteEvent = `{"type":"m.room.member","state_key":"@bob:remote.example.org","sender":"@alice:example.com",` +
	`"room_id":"!mYhpjBPOaxyLzGuUHA:example.com","content":{"membership":"invite","displayname":"Bob","avatar_url":"mxc://remote.example.org/abcdefghij"},` +
	`"origin_server_ts":1764000000000,"depth":12,"prev_events":["$1x5wVYdFMQeTBxzNhqFRV4QSQhhBwVHSc0Vd7pBzxx0"],` +
	`"auth_events":["$Zlbc6ioPkrEzHbbCIqzQRn_Gj3zCkdPQ0bXjzzFjWJ4","$tYxUcbzVmTLqhcM0N-G8VbdQGdvEoPqEW0cnfEqzR7E"],` +
	`"hashes":{"sha256":"kUGdMBQ2Hk3iFLmOQV8y7hpzq1WhfPN8xqXMmq3vD0o"},"signatures":{"example.com":{"ed25519:a_key":` +
	`"9EC0+D2LpVwNhHeNEwKzhGyjQdS9JLFsmN0tKkXvnY7pS1vEX5bpbFiMaRtNG1lVgRlJvYZlTUQBmgkMhLHxCg"}}}`

// powerLevels is the content of an m.room.power_levels event with n users.
func powerLevels(n int) []byte {
	r := rand.New(rand.NewPCG(5, 7))
	var users []string
	for range n {
		name := make([]byte, 8)
		for i := range name {
			name[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
		}
		users = append(users, fmt.Sprintf(`        "@%s:example.org": %d`, name, 50*(1+r.IntN(2))))
	}
	members := []string{
		"    \"ban\": 50", "    \"kick\": 50", "    \"invite\": 0", "    \"users_default\": 0",
		"    \"users\": {\n" + strings.Join(users, ",\n") + "\n    }",
		"    \"events\": {\n        \"m.room.name\": 50,\n        \"m.room.avatar\": 50\n    }",
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return []byte("{\n" + strings.Join(members, ",\n") + "\n}\n")
}

func canonicalInputs(b *testing.B) map[string][]byte {
	random := powerLevels(1500)
	out, err := fedinvite.CanonicalJSON(random)
	if err != nil {
		b.Fatal(err)
	}
	var sorted bytes.Buffer
	if err := json.Indent(&sorted, out, "", "    "); err != nil {
		b.Fatal(err)
	}
	event, err := fedinvite.CanonicalJSON([]byte(inviteEvent))
	if err != nil {
		b.Fatal(err)
	}
	return map[string][]byte{
		"event": []byte(inviteEvent), "event-canonical": event,
		"random": random, "sorted": sorted.Bytes(), "canonical": out,
	}
}

// adversarial holds makers of input that is hard on one part of the encoder,
// of about the size asked for.
func adversarial() map[string]func(size int) []byte {
	object := func(size, each int, key func(i, n int) string) []byte {
		n := max(1, size/each)
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, `,"%s":0`, key(i, n))
		}
		out := append(b.Bytes(), '}')
		out[0] = '{'
		return out
	}
	repeat := func(unit string) func(int) []byte {
		return func(size int) []byte {
			return []byte("[" + strings.Repeat(unit+",", size/(len(unit)+1)) + "0]")
		}
	}
	objects := func(n int, format string) func(int) []byte {
		return func(size int) []byte {
			key := func(i, n int) string { return fmt.Sprintf(format, 'À'+n-i) }
			return repeat(string(object(n, 1, key)))(size)
		}
	}
	inString := func(unit string) func(int) []byte {
		return func(size int) []byte { return []byte(`"` + strings.Repeat(unit, size/len(unit)) + `"`) }
	}
	return map[string]func(int) []byte{
		"reverse": func(size int) []byte {
			return object(size, 13, func(i, n int) string { return fmt.Sprintf("key%05d", n-i) })
		},
		"shortkeys": func(size int) []byte {
			return object(size, 8, func(i, n int) string { // three bytes each
				i = i * 7919 % n
				return fmt.Sprintf("%03x", i)
			})
		},
		"prefixes": func(size int) []byte { // two keys differ at the end only
			prefix := strings.Repeat("p", 200)
			return object(size, 212, func(i, n int) string { return fmt.Sprintf("%s%06d", prefix, n-i) })
		},
		"ladder": func(size int) []byte { // each key is a prefix of the one before
			n := 1
			for n*(n+9)/2 < size {
				n++
			}
			return object(n, 1, func(i, n int) string { return strings.Repeat("p", n-i) })
		},
		"deep": func(size int) []byte { // unsorted at every level, as deep as allowed
			pad := strings.Repeat("x", max(0, size/2/127-20))
			return []byte(nestJSON(`{"b":"`+pad+`","a":`, `0`, `,"0":"`+pad+`"}`, 127))
		},
		"tiny": repeat(`{"b":0,"a":0}`),
		"few":  objects(63, "%c"), // reversed, of sizes at which the way of sorting changes
		"many": objects(64, "%c"),
		"ties": objects(63, "shared by all keys, %c"),
		"outlier": func(size int) []byte { // all but one share more than is looked at at once
			return object(size, 17, func(i, n int) string { return fmt.Sprintf("%.7s%05d", "pppppppq"[i/(n-1):], n-i) })
		},
		"escaped":     inString(`\u0041`),
		"controls":    inString(`\u001F`),
		"surrogates":  inString(`\ud83d\ude00`),
		"backslashes": inString(`\\`),
		"unicode":     inString("é"),
		"escapedkeys": func(size int) []byte {
			return object(size, 16, func(i, n int) string { return fmt.Sprintf(`\u006b%05d`, n-i) })
		},
		"numbers":    repeat("-0"),
		"space":      func(size int) []byte { return []byte("[" + strings.Repeat("0 , ", size/4) + "0]") },
		"blank":      func(size int) []byte { return []byte("[" + strings.Repeat(" ", size) + "0]") },
		"lastescape": func(size int) []byte { return append(repeat(`{"a":"b"}`)(size)[:size/10*10+1], `"\/"]`...) },
		"duplicates": func(size int) []byte {
			return object(size, 8, func(i, n int) string { return fmt.Sprintf("%c", "ba"[i&1]) })
		},
		"lateduplicate": func(size int) []byte {
			return object(size, 13, func(i, n int) string { return fmt.Sprintf("key%05d", max(n-i, 2)) })
		},
	}
}

func BenchmarkCanonicalJSON(b *testing.B) {
	inputs := canonicalInputs(b)
	for _, name := range sortedNames(inputs) {
		b.Run(name, func(b *testing.B) {
			src := inputs[name]
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := fedinvite.CanonicalJSON(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkAppend(b *testing.B, src []byte) {
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	dst, _ := fedinvite.AppendCanonicalJSON(nil, src)
	for b.Loop() {
		dst, _ = fedinvite.AppendCanonicalJSON(dst[:0], src)
	}
}

func BenchmarkAppendCanonicalJSON(b *testing.B) {
	inputs := canonicalInputs(b)
	for _, name := range sortedNames(inputs) {
		b.Run(name, func(b *testing.B) { benchmarkAppend(b, inputs[name]) })
	}
}

func BenchmarkAdversarial(b *testing.B) {
	inputs := adversarial()
	for _, name := range sortedNames(inputs) {
		b.Run(name, func(b *testing.B) { benchmarkAppend(b, inputs[name](60000)) })
	}
}

// BenchmarkLegacyFloats reads numbers of which some are hard to round: as many as
// may be, the others plain.
func BenchmarkLegacyFloats(b *testing.B) {
	for name, number := range map[string]string{
		"plain": "50.57", "long": "0.30000000000000004", "subnormal": "5e-324",
		"middle": "8.98846567431158053655e307", "digits": "0." + strings.Repeat("123456789", 100),
	} {
		n := 60000 / len(number)
		if name == "subnormal" || name == "middle" {
			n = 100
		}
		numbers := strings.Repeat(number+",", n)
		src := []byte("[" + numbers + strings.Repeat("50.57,", max(0, 60000-len(numbers))/6) + "0]")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = fedinvite.AppendLegacyCanonicalJSON(dst[:0], src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

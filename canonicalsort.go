package fedinvite

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// keySorter is the scratch memory of sorting.
type keySorter struct {
	keys, spare []sortKey
	ties        []sortTie
}

// sortKey stands for a member of the object being sorted.
type sortKey struct {
	word   uint64
	member int
}

// sortTie is a range of keys that are equal in their first depth bytes.
type sortTie struct{ start, end, depth int }

const (
	wordBytes    = 7
	radixMinimum = 64 // so many keys pay for the counters of a radix sort
)

// sortWord returns seven bytes of a key, buf[start:end], and below them how
// long it is, at most eight. Words are ordered as the keys; keys of the same
// word are the same, or longer than seven bytes.
func sortWord(buf []byte, start, end int) uint64 {
	var w uint64
	if start+8 <= len(buf) {
		w = binary.BigEndian.Uint64(buf[start:])
	} else {
		var b [8]byte
		copy(b[:], buf[start:end])
		w = binary.BigEndian.Uint64(b[:])
	}
	n := end - start
	if n > wordBytes {
		return w&^0xff | (wordBytes + 1)
	}
	unused := 64 - 8*n
	return w>>unused<<unused | uint64(n)
}

// sort returns the members in the order of their keys, or twin, one of them
// whose key was there before.
//
// Keys are sorted by their first word; those that share theirs are sorted
// later, by what follows. The time depends on how many bytes there are in the
// keys, but not on how many of them keys have in common.
func (e *jsonEncoder) sort(members []jsonMember) (order []sortKey, twin *jsonMember) {
	s := &e.sorter
	s.keys = s.keys[:0]
	for i := range members {
		s.keys = append(s.keys, sortKey{members[i].word, i})
	}
	if len(members) < radixMinimum {
		return s.keys, e.sortFew(members, s.keys)
	}
	s.ties = append(s.ties[:0], sortTie{0, len(members), 0})
	for len(s.ties) > 0 && twin == nil {
		t := s.ties[len(s.ties)-1]
		s.ties = s.ties[:len(s.ties)-1]
		keys := s.keys[t.start:t.end]
		if len(keys) < radixMinimum {
			twin = e.sortFew(members, keys)
		} else {
			twin = e.sortMany(members, keys, t)
		}
	}
	return s.keys, twin
}

// sortFew sorts by insertion, and ties at once by comparing whole keys.
func (e *jsonEncoder) sortFew(members []jsonMember, keys []sortKey) (twin *jsonMember) {
	ties := false
	for i := 1; i < len(keys); i++ {
		k, j := keys[i], i
		for ; j > 0 && keys[j-1].word > k.word; j-- {
			keys[j] = keys[j-1]
		}
		keys[j] = k
		ties = ties || j > 0 && keys[j-1].word == k.word
	}
	if !ties {
		return nil
	}
	compare := func(a, b sortKey) int {
		if a.word != b.word {
			return cmp.Compare(a.word, b.word)
		}
		return bytes.Compare(e.key(&members[a.member]), e.key(&members[b.member]))
	}
	slices.SortFunc(keys, compare)
	for i := 1; i < len(keys); i++ {
		if compare(keys[i-1], keys[i]) == 0 {
			return &members[max(keys[i-1].member, keys[i].member)]
		}
	}
	return nil
}

// sortMany sorts by the first word that is not the same for all.
func (e *jsonEncoder) sortMany(members []jsonMember, keys []sortKey, t sortTie) (twin *jsonMember) {
	if t.depth > 0 { // else they have their first words
		e.setWords(members, keys, t.depth)
	}
	differ, shortest := compareWords(keys)
	for differ == 0 {
		if shortest <= wordBytes {
			return &members[keys[1].member]
		}
		t.depth += wordBytes
		e.setWords(members, keys, t.depth)
		differ, shortest = compareWords(keys)
	}
	// Leave out what all have in common, to have fewer ties.
	if common := min(bits.LeadingZeros64(differ)/8, shortest); common > 0 {
		t.depth += common
		e.setWords(members, keys, t.depth)
		differ, _ = compareWords(keys)
	}
	e.sorter.radix(keys, differ)
	for start, end := 0, 1; start < len(keys); start, end = end, end+1 {
		word := keys[start].word
		for end < len(keys) && keys[end].word == word {
			end++
		}
		if end-start == 1 {
			continue
		}
		if word&0xff <= wordBytes {
			return &members[keys[start+1].member]
		}
		e.sorter.ties = append(e.sorter.ties, sortTie{t.start + start, t.start + end, t.depth + wordBytes})
	}
	return nil
}

// setWords sets the words of keys to what follows the first depth bytes.
func (e *jsonEncoder) setWords(members []jsonMember, keys []sortKey, depth int) {
	for i := range keys {
		key := e.key(&members[keys[i].member])
		keys[i].word = sortWord(key, depth, len(key))
	}
}

// compareWords returns in which bits any two words differ, and how much the
// shortest key has left, at most eight.
func compareWords(keys []sortKey) (differ uint64, shortest int) {
	shortest = wordBytes + 1
	for _, k := range keys {
		differ |= k.word ^ keys[0].word
		shortest = min(shortest, int(k.word&0xff))
	}
	return differ, shortest
}

// radix sorts by word, byte by byte from the last to the first, leaving out
// those in which none differs.
func (s *keySorter) radix(keys []sortKey, differ uint64) {
	s.spare = append(s.spare[:0], keys...)
	from, to := keys, s.spare
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ>>shift) == 0 {
			continue
		}
		var next [256]int
		for i := range from {
			next[byte(from[i].word>>shift)]++
		}
		sum := 0
		for i, n := range next {
			next[i] = sum
			sum += n
		}
		for _, k := range from {
			n := &next[byte(k.word>>shift)]
			to[*n] = k
			*n++
		}
		from, to = to, from
	}
	if &from[0] != &keys[0] {
		copy(keys, from)
	}
}

package fedinvite

// sorter sorts the members of an object by key. It looks at seven bytes of
// every key at once, and goes on to the next bytes only among keys that share
// them: no byte of a key is looked at twice, however much keys have in common.
type sorter struct {
	keys, spare []sortKey
	ties        []tie
}

// sortKey is seven bytes of a key, and below them how much of the key was left,
// at most eight: equal words below eight are equal keys.
type sortKey struct {
	word   uint64
	member int
}

// tie is a range of keys that are equal in their first depth bytes.
type tie struct{ start, end, depth int }

const (
	wordBytes    = 7
	radixMinimum = 48 // so many keys pay for the counters of a radix sort
)

// sort returns the members' indices in the order of their keys in text, and
// the index of one whose key was there before, or -1.
func (s *sorter) sort(text []byte, members []member) (keys []sortKey, twin int) {
	s.keys = s.keys[:0]
	for i := range members {
		s.keys = append(s.keys, sortKey{member: i})
	}
	s.ties = append(s.ties[:0], tie{0, len(s.keys), 0})
	for len(s.ties) > 0 {
		t := s.ties[len(s.ties)-1]
		s.ties = s.ties[:len(s.ties)-1]
		keys := s.keys[t.start:t.end]
		t.depth = commonPrefix(text, members, keys, t.depth)
		for i := range keys {
			m := &members[keys[i].member]
			keys[i].word = sortWord(text[m.key+t.depth : m.keyEnd])
		}
		s.sortWords(keys)
		for i := 1; i < len(keys); i++ {
			if keys[i].word != keys[i-1].word {
				continue
			}
			if keys[i].word&0xff <= wordBytes {
				return nil, max(keys[i].member, keys[i-1].member)
			}
			start := i - 1
			for i < len(keys) && keys[i].word == keys[start].word {
				i++
			}
			s.ties = append(s.ties, tie{t.start + start, t.start + i, t.depth + wordBytes})
		}
	}
	return s.keys, -1
}

// commonPrefix returns how many bytes all keys, which share the first depth,
// have in common.
func commonPrefix(text []byte, members []member, keys []sortKey, depth int) int {
	m := &members[keys[0].member]
	prefix := text[m.key+depth : m.keyEnd]
	for i := 1; i < len(keys) && len(prefix) > 0; i++ {
		m := &members[keys[i].member]
		key := text[m.key+depth : m.keyEnd]
		n := 0
		for n < len(prefix) && n < len(key) && prefix[n] == key[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return depth + len(prefix)
}

func sortWord(key []byte) uint64 {
	var w uint64
	for i := 0; i < wordBytes; i++ {
		w <<= 8
		if i < len(key) {
			w |= uint64(key[i])
		}
	}
	return w<<8 | uint64(min(len(key), wordBytes+1))
}

// sortWords sorts by word: few keys by insertion, many by their bytes from the
// last to the first.
func (s *sorter) sortWords(keys []sortKey) {
	if len(keys) < radixMinimum {
		for i := 1; i < len(keys); i++ {
			k, j := keys[i], i
			for ; j > 0 && keys[j-1].word > k.word; j-- {
				keys[j] = keys[j-1]
			}
			keys[j] = k
		}
		return
	}
	var differ uint64
	for i := range keys {
		differ |= keys[i].word ^ keys[0].word
	}
	s.spare = append(s.spare[:0], keys...)
	from, to := keys, s.spare
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
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
			b := byte(k.word >> shift)
			to[next[b]] = k
			next[b]++
		}
		from, to = to, from
	}
	copy(keys, from)
}

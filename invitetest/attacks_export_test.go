package invitetest

import (
	"context"
	"fmt"
)

// Tries returns the names of the tries of each attack.
func Tries() map[string][]string {
	all := map[string][]string{}
	for _, a := range allAttacks() {
		for _, t := range a.tries {
			all[a.name] = append(all[a.name], t.name)
		}
	}
	return all
}

// Try makes one try of an attack.
func Try(ctx context.Context, target Target, attack, try string) Result {
	for _, a := range allAttacks() {
		for _, t := range a.tries {
			if a.name == attack && t.name == try {
				a.tries = a.tries[:0:0]
				a.tries = append(a.tries, t)
				return a.check().Run(ctx, target)
			}
		}
	}
	panic(fmt.Sprintf("no try %q of attack %q", try, attack))
}

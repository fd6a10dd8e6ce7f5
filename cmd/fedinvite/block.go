package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A blockList holds the servers and users whose invites are refused.
type blockList map[string]bool

// block defines the option -block, which may be repeated.
func (f *flags) block() blockList {
	list := make(blockList)
	f.Func("block", "", func(s string) (err error) {
		list[s] = true
		if strings.HasPrefix(s, "@") {
			_, _, err = fedinvite.ParseUserID(s)
		} else {
			_, err = fedinvite.ParseServerName(s)
		}
		return err
	})
	return list
}

// admit refuses servers, at no cost. It fits [fedinvite.Config], as policy does.
func (l blockList) admit(_ context.Context, d *fedinvite.Delivery) error {
	return l.check(string(d.Origin))
}

// policy refuses users.
func (l blockList) policy(_ context.Context, inv *fedinvite.Invite) error {
	return l.check(inv.Event.Sender())
}

func (l blockList) check(name string) error {
	if !l[name] {
		return nil
	}
	return fedinvite.Refuse(fedinvite.CodeForbidden, fmt.Sprintf("invites from %s are not accepted here", name))
}

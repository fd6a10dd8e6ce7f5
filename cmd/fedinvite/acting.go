package main

import (
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// acting are the options of the commands that act for a user of our server.
type acting struct {
	*flags
	name    *fedinvite.ServerName
	keyFile *string
	others  *network
}

func newActing(command string) acting {
	f := newFlags(command)
	return acting{f, f.needServer("server-name"), f.needString("key"), f.network()}
}

// ours makes sure that an option names a user of our server.
func (a acting) ours(option string, user *userID) error {
	if user.server != *a.name {
		return usageError("-" + option + " must be a user of -server-name")
	}
	return nil
}

// theirs makes sure that an option names a user of another server.
func (a acting) theirs(option string, user *userID) error {
	if user.server == *a.name {
		return usageError("-" + option + " must be a user of another server")
	}
	return nil
}

// outbound reads what the options name.
func (a acting) outbound() (*outbound, error) {
	signer, err := readSigner(*a.name, *a.keyFile)
	if err != nil {
		return nil, err
	}
	config, err := a.others.config()
	if err != nil {
		return nil, err
	}
	return newOutbound(signer, config)
}

// leaveContent is the content of a leave, but for its membership.
func leaveContent(reason string) (json.RawMessage, error) {
	if reason == "" {
		return nil, nil
	}
	return fedinvite.MarshalCanonical(object{"reason": reason})
}

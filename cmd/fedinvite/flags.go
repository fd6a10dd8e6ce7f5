package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/seed-0a46cb1a/fedinvite"
)

// flags are the options of one subcommand, with what the standard flag set does
// not know: options that are required, and the types of this module.
type flags struct {
	*flag.FlagSet
	required []string
}

func newFlags(name string) *flags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // run reports errors and prints the usage
	return &flags{FlagSet: set}
}

// needString defines an option that must be given and not be empty.
func (f *flags) needString(name string) *string {
	value := new(string)
	f.need(name, func(s string) error {
		if s == "" {
			return errors.New("it is empty")
		}
		*value = s
		return nil
	})
	return value
}

// needRules defines -room-version, which must be given.
func (f *flags) needRules() *fedinvite.Rules {
	rules := new(fedinvite.Rules)
	f.need("room-version", func(s string) (err error) {
		*rules, err = fedinvite.RoomVersion(s).Rules()
		return err
	})
	return rules
}

// needServer defines an option that must be given and name a server.
func (f *flags) needServer(name string) *fedinvite.ServerName {
	server := new(fedinvite.ServerName)
	f.need(name, func(s string) (err error) {
		*server, err = fedinvite.ParseServerName(s)
		return err
	})
	return server
}

// needUser defines an option that must be given and name a user.
func (f *flags) needUser(name string) *userID {
	user := new(userID)
	f.need(name, func(s string) (err error) {
		user.id = s
		_, user.server, err = fedinvite.ParseUserID(s)
		return err
	})
	return user
}

// servers defines an option that names a server and may be repeated.
func (f *flags) servers(name string) *[]fedinvite.ServerName {
	all := new([]fedinvite.ServerName)
	f.Func(name, "", func(s string) error {
		server, err := fedinvite.ParseServerName(s)
		*all = append(*all, server)
		return err
	})
	return all
}

func (f *flags) need(name string, set func(string) error) {
	f.Func(name, "", set)
	f.required = append(f.required, name)
}

// parseFile reads the options and at most one FILE, whose name it returns.
func (f *flags) parseFile(args []string) (file string, err error) {
	err = f.parse(args, 1)
	return f.Arg(0), err
}

// parseAlone reads the options of a command that reads no FILE.
func (f *flags) parseAlone(args []string) error { return f.parse(args, 0) }

// parse reads the options and at most so many arguments after them. Whatever is
// wrong is a usageError, but for [flag.ErrHelp].
func (f *flags) parse(args []string, most int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError(err.Error())
	}
	given := make(map[string]bool)
	f.Visit(func(option *flag.Flag) { given[option.Name] = true })
	for _, name := range f.required {
		if !given[name] {
			return usageError("-" + name + " is required")
		}
	}
	if f.NArg() > most {
		return usageError(fmt.Sprintf("unexpected argument %q; options come first", f.Arg(most)))
	}
	return nil
}

// A userID is a user ID that was checked, with its server.
type userID struct {
	id     string
	server fedinvite.ServerName
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// Exit statuses.
const (
	statusOK      = 0
	statusRefused = 1 // the input or the peer
	statusUsage   = 2
)

const usage = `Usage:
    fedinvite COMMAND [OPTION …] [FILE]
    fedinvite help COMMAND

Fedinvite works with the invites that Matrix homeservers send each other.

Commands:
%s
Exit status: 0 all went well, 1 the input or the peer is refused (one line on
standard error says why), 2 wrong usage.

Example:
    $ fedinvite demo
`

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// A command is one of the subcommands. Its function returns an error for
// whatever does not end with status 0.
type command struct {
	name, summary, usage string
	run                  func(ctx context.Context, s streams, args []string) error
}

// commands returns the subcommands in the order of the help text.
func commands() []command {
	return []command{
		{"demo", "the whole life of invites between homeservers in this process", demoUsage, runDemo},
		{"canonical", "write JSON in canonical form", canonicalUsage, runCanonical},
		{"event", "compute an event's ID, hashes and redacted form", eventUsage, runEvent},
		{"sign", "hash and sign an event", signUsage, runSign},
		{"verify", "check the signatures and the content hash of an event", verifyUsage, runVerify},
		{"keygen", "make a signing key", keygenUsage, runKeygen},
		{"resolve", "find out where a homeserver is, step by step", resolveUsage, runResolve},
		{"keys", "fetch a homeserver's signing keys and look at them", keysUsage, runKeys},
		{"explain", "take a captured invite apart: why is it refused?", explainUsage, runExplain},
		{"conformance", "try what a homeserver makes of invites, sentence by sentence", conformanceUsage, runConformance},
		{"serve", "a homeserver that receives invites, and what ends them", serveUsage, runServe},
		{"invite", "invite a user of another homeserver", inviteUsage, runInvite},
		{"decline", "decline an invite that serve has stored", declineUsage, runDecline},
		{"rescind", "take back an invite that was stored by invite", rescindUsage, runRescind},
	}
}

// run runs one command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		fmt.Fprint(s.err, overview())
		return statusUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args, s)
	}
	c, ok := find(name)
	if !ok {
		return report(s, usageError(fmt.Sprintf("unknown command %q", name)), "help")
	}
	err := c.run(ctx, s, args)
	if errors.Is(err, flag.ErrHelp) {
		return help([]string{name}, s)
	}
	return report(s, err, "help "+name)
}

// report tells the user about err, in one line, and returns the exit status.
func report(s streams, err error, hint string) int {
	if err == nil {
		return statusOK
	}
	text := oneLine(err.Error())
	if errors.Is(err, discovery.ErrAddress) {
		text += " (-allow makes exceptions)"
	}
	fmt.Fprintln(s.err, "fedinvite:", text)
	var wrong usageError
	if !errors.As(err, &wrong) {
		return statusRefused
	}
	fmt.Fprintf(s.err, "Run \"fedinvite %s\" to see how it is used.\n", hint)
	return statusUsage
}

// help prints the overview or the usage of one command.
func help(args []string, s streams) int {
	if len(args) == 0 {
		fmt.Fprint(s.out, overview())
		return statusOK
	}
	c, ok := find(args[0])
	if !ok {
		return report(s, usageError(fmt.Sprintf("unknown command %q", args[0])), "help")
	}
	fmt.Fprint(s.out, c.usage)
	return statusOK
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func overview() string {
	var list strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&list, "    %-12s%s\n", c.name, c.summary)
	}
	return fmt.Sprintf(usage, list.String())
}

// A usageError says how the command was used wrongly.
type usageError string

func (e usageError) Error() string { return string(e) }

// oneLine makes text fit for a terminal: what peers have written may hold line
// breaks and escape sequences.
func oneLine(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ") // as errors.Join has them
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

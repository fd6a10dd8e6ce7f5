package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/glob"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

const conformanceUsage = `Usage:
    fedinvite conformance -target URL -server-name NAME -invitee USER …
                    -listen ADDR -tls-cert FILE -tls-key FILE [-name NAME]
                    [-key FILE] [-ca FILE] [-allow PREFIX …] [-versions V,…]
                    [-blocking USER] [-only NAME …] [-timeout DURATION]
                    [-attacks] [-exchange] [-public | -json]

Try what a homeserver of your own, in whatever language, makes of invites: sentence
by sentence of the specification, with right and wrong requests. Each line of the
output is a check: whether the server does what the sentence says (ok, departs,
skipped, unknown), how binding that is (MUST, SHOULD, practice), the name of the
check, and what came instead; below is the sentence, if the server departs from it.
The last line sums them up. A server that is not up yet is waited for, for 5 s.

The requests come from a server of this command, which listens while they are made,
because the target asks it for its keys. Its name must lead the target there, and
the target must trust its certificate.

The users of -invitee must exist and take invites from everybody. They get some
hundred of them, so take users and a server made for tests, and lift the limits on
rates. What invites the target itself sends is not tried here; the package
invitetest does that.

Options:
    -target URL         where it is, such as https://127.0.0.1:8448 (required)
    -server-name NAME   its name (required)
    -invitee USER       one of its users who can be invited (required); may be
                        repeated, then all are invited in turns
    -listen ADDR        where to listen for its requests, such as 127.0.0.1:8449
                        (required)
    -tls-cert FILE      the certificate to show there, in PEM (required)
    -tls-key FILE       the certificate's private key, in PEM (required)
    -name NAME          the name of our own server; by default the address where it
                        listens
    -key FILE           our signing key, see "fedinvite help keygen"; by default a
                        new one. Servers remember keys: one name, one key
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to when other servers are
                        asked for their keys, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -versions V,…       the room versions to try, such as 1,11; by default all
    -blocking USER      one of its users who has blocked invites
    -timeout DURATION   for one request, and to wait for a server that limits rates;
                        by default 10s
    -only NAME          the checks to make, where * stands for any text; may be
                        repeated
    -exchange           show what was sent and what came back, the first 4 KiB of
                        each, where not all is well
    -public             print a table in Markdown, for publication
    -json               print a line of JSON for each check. The request of an
                        exchange is what "fedinvite explain" reads
    -attacks            try attacks too: what hostile servers would do

What comes of attacks is for the authors of the server alone: mend it before you
speak of it. They are made on servers at loopback and private addresses only.

The exit status is 1 if the server departs from something that it MUST do, or if
that could not be told.

Example:
    $ fedinvite conformance -target https://127.0.0.1:8448 -server-name b.test \
          -invitee @bob:b.test -listen 127.0.0.1:8449 -tls-cert a.crt \
          -tls-key a.tls.key -ca ca.crt -versions 1,11,12
`

// attackTimeout bounds connecting to a target that is attacked.
const attackTimeout = 10 * time.Second

// conformance are the options of the command.
type conformance struct {
	url, name, address        *string
	certFile, tlsKeyFile, key *string
	server                    *fedinvite.ServerName
	invitees, only            []string
	blocking                  *string
	versions                  []fedinvite.RoomVersion
	timeout                   *time.Duration
	attacks, exchange         *bool
	public, json              *bool
	others                    *network
}

func runConformance(ctx context.Context, s streams, args []string) error {
	o, err := readConformance(args)
	if err != nil {
		return err
	}
	peer, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer peer.Close()
	target, err := o.target(peer)
	if err != nil {
		return err
	}
	if *o.attacks {
		if err := onlyNearby(ctx, *o.url); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.err, "fedinvite: %s tries %s\n", peer.Name(), *o.server)
	if *o.attacks {
		fmt.Fprintf(s.err, "fedinvite: what comes of attacks is for the authors of %s alone\n", *o.server)
	}
	if err := target.Ready(ctx); err != nil {
		return unprefixed(err)
	}
	results, err := o.print(s.out, invitetest.Results(ctx, target, o.checks()...))
	if err != nil {
		return err
	}
	return verdict(results)
}

// readConformance reads the options.
func readConformance(args []string) (*conformance, error) {
	f := newFlags("conformance")
	o := &conformance{
		url: f.needString("target"), server: f.needServer("server-name"),
		address: f.needString("listen"), certFile: f.needString("tls-cert"), tlsKeyFile: f.needString("tls-key"),
		name: f.String("name", "", ""), key: f.String("key", "", ""), blocking: f.String("blocking", "", ""),
		timeout: f.Duration("timeout", 0, ""),
		attacks: f.Bool("attacks", false, ""), exchange: f.Bool("exchange", false, ""),
		public: f.Bool("public", false, ""), json: f.Bool("json", false, ""),
		others: f.network(),
	}
	f.need("invitee", func(user string) error {
		o.invitees = append(o.invitees, user)
		return nil
	})
	f.Func("versions", "", o.setVersions)
	f.Func("only", "", o.setOnly)
	if err := f.parseAlone(args); err != nil {
		return nil, err
	}
	switch {
	case *o.public && *o.attacks:
		return nil, usageError("-attacks are not for publication: leave out -public")
	case *o.public && *o.json:
		return nil, usageError("-public and -json exclude each other")
	}
	return o, nil
}

func (o *conformance) setVersions(list string) error {
	for v := range strings.SplitSeq(list, ",") {
		if _, err := fedinvite.RoomVersion(v).Rules(); err != nil {
			return err
		}
		o.versions = append(o.versions, fedinvite.RoomVersion(v))
	}
	return nil
}

func (o *conformance) setOnly(pattern string) error {
	if !slices.ContainsFunc(invitetest.Checks(), func(c invitetest.Check) bool { return glob.Match(pattern, c.Name) }) {
		return errors.New("there is no such check")
	}
	o.only = append(o.only, pattern)
	return nil
}

// checks are those to make. What the target sends, nobody asks it to send here.
func (o *conformance) checks() []invitetest.Check {
	return slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool {
		named := len(o.only) == 0 || slices.ContainsFunc(o.only, func(pattern string) bool { return glob.Match(pattern, c.Name) })
		return !named || c.Attack && !*o.attacks || strings.HasPrefix(c.Name, "send/")
	})
}

// start starts our own server.
func (o *conformance) start(ctx context.Context) (*invitetest.Server, error) {
	cert, err := readCertificate(*o.certFile, *o.tlsKeyFile)
	if err != nil {
		return nil, err
	}
	config, err := o.others.config()
	if err != nil {
		return nil, err
	}
	transport, err := discovery.New(config)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *o.address)
	if err != nil {
		return nil, err
	}
	signer, err := o.signer(listener.Addr())
	if err == nil {
		var server *invitetest.Server
		server, err = invitetest.StartServer(invitetest.ServerConfig{
			Name: signer.ServerName(), Listener: listener, Certificate: &cert, Transport: transport, Signer: signer, KeysOnly: true,
		})
		if err == nil {
			return server, nil
		}
	}
	_ = listener.Close()
	return nil, err
}

// signer is our name and key.
func (o *conformance) signer(addr net.Addr) (fedinvite.Signer, error) {
	name := *o.name
	if name == "" {
		name = addr.String()
		if at, err := netip.ParseAddrPort(name); err != nil || at.Addr().IsUnspecified() {
			return nil, usageError("-name is required if -listen names no address")
		}
	}
	server, err := fedinvite.ParseServerName(name)
	if err != nil {
		return nil, usageError(err.Error())
	}
	if *o.key != "" {
		return readSigner(server, *o.key)
	}
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return fedinvite.NewSigner(server, id, key)
}

// target is what is tried.
func (o *conformance) target(peer *invitetest.Server) (invitetest.Target, error) {
	roots, err := readRoots(*o.others.caFile)
	t := invitetest.Target{
		Name: *o.server, URL: strings.TrimSuffix(*o.url, "/"), Roots: roots, Peer: peer, Versions: o.versions,
		Invitee: o.invitees[0], Invitees: o.invitees[1:], Blocking: *o.blocking, Timeout: *o.timeout,
	}
	if *o.attacks {
		t.Dial = (&net.Dialer{Timeout: attackTimeout, ControlContext: nearbyOnly}).DialContext
	}
	if err != nil {
		return t, err
	}
	if err := t.Check(); err != nil {
		return t, usageError(unprefixed(err).Error())
	}
	return t, nil
}

// unprefixed is an error of package invitetest for those who do not know of it.
func unprefixed(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "invitetest: ", ""))
}

// print prints results as they come, and returns them.
func (o *conformance) print(w io.Writer, results func(func(invitetest.Result) bool)) ([]invitetest.Result, error) {
	var all []invitetest.Result
	for r := range results {
		all = append(all, r)
		var err error
		switch {
		case *o.public:
		case *o.json:
			err = json.NewEncoder(w).Encode(r)
		default:
			err = o.printResult(w, r)
		}
		if err != nil {
			return nil, err
		}
	}
	if *o.public {
		return all, invitetest.WriteMarkdown(w, all)
	}
	if !*o.json {
		if _, err := fmt.Fprintln(w, invitetest.Summary(all)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// printResult prints a line of the table, and what belongs to it.
func (o *conformance) printResult(w io.Writer, r invitetest.Result) error {
	_, err := fmt.Fprintln(w, r)
	exchange := *o.exchange && r.Outcome != invitetest.Passed
	if r.Outcome == invitetest.Departed || exchange {
		_, err = fmt.Fprintf(w, "         %s\n", r.Sentence)
	}
	if exchange {
		err = printExchange(w, r)
	}
	return err
}

// printExchange prints what was sent and what came back.
func printExchange(w io.Writer, r invitetest.Result) error {
	fmt.Fprintf(w, "         %s\n", r.Link)
	for _, x := range r.Exchange {
		for line := range strings.Lines(x.Request + "\n") {
			fmt.Fprintf(w, "  > %s", line)
		}
		for line := range strings.Lines(x.Response + "\n") {
			fmt.Fprintf(w, "  < %s", line)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// verdict is an error if the target departs from what it MUST do, or if that is unknown.
func verdict(results []invitetest.Result) error {
	departs, unknown := 0, 0
	for _, r := range results {
		switch {
		case r.Level != invitetest.Must:
		case r.Outcome == invitetest.Departed:
			departs++
		case r.Outcome == invitetest.Unknown:
			unknown++
		}
	}
	switch {
	case departs > 0:
		return fmt.Errorf("the server departs from %s that it MUST keep", sentences(departs))
	case unknown > 0:
		return fmt.Errorf("of %s that it MUST keep it could not be told whether the server does", sentences(unknown))
	}
	return nil
}

func sentences(n int) string {
	if n == 1 {
		return "1 sentence"
	}
	return fmt.Sprintf("%d sentences", n)
}

// onlyNearby returns an error if a URL leads to addresses of the public internet.
func onlyNearby(ctx context.Context, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return usageError(err.Error())
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		if err := nearby(addr); err != nil {
			return err
		}
	}
	return nil
}

// nearbyOnly is the same for the address that is dialled: a name may lead elsewhere by then.
func nearbyOnly(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return nearby(to.Addr())
}

func nearby(addr netip.Addr) error {
	if discovery.Public(addr.Unmap()) {
		return fmt.Errorf("%s is an address of the public internet: attacks are made on servers at loopback and private addresses only", addr)
	}
	return nil
}

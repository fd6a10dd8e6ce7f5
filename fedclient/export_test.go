package fedclient

import (
	"context"
	"net"
)

// OnDial makes d call f with the address in place of dialling it.
func OnDial(d *Direct, f func(addr string) error) {
	d.base.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) { return nil, f(addr) }
}

// DialInstead makes d dial addr whatever the address.
func DialInstead(d *Direct, addr string) {
	dial := d.base.DialContext
	d.base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, addr) }
}

package discovery

// SetMaxConnections sets how many connections there are before idle ones are closed.
func (t *Transport) SetMaxConnections(n int) { t.connections.most = n }

// Pools returns how many pools of connections t has.
func (t *Transport) Pools() int {
	t.connections.mu.Lock()
	defer t.connections.mu.Unlock()
	return len(t.connections.pools)
}

package netfault

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Mode says what the proxy does with bytes; see the package comment.
type Mode int

// The modes. A new proxy is in Pass.
const (
	Pass Mode = iota
	BlackHole
	Mute
	Cut
)

// Proxy forwards connections to one address. It is safe for concurrent use.
type Proxy struct {
	listener *net.TCPListener
	target   *net.TCPAddr
	delay    atomic.Int64
	accepted atomic.Int64
	running  sync.WaitGroup

	mu      sync.Mutex
	mode    Mode
	changed chan struct{} // closed at each change of mode
	links   map[*link]struct{}
	closed  bool
}

// New starts a proxy to target, a TCP host:port, on a free loopback port.
func New(target string) (*Proxy, error) {
	to, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return nil, fmt.Errorf("cannot start a proxy: %w", err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("cannot start a proxy to %s: %w", target, err)
	}
	p := &Proxy{listener: l, target: to, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted is how many connections were made so far.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Delay makes each reply arrive d later than it would, from now on.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Set changes what happens to bytes from now on, those on their way included.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	if m == Cut {
		p.cut()
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends everything and frees the port: from then on the kernel refuses connections there.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.cut()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.running.Wait()
}

// cut closes all connections. The lock is held.
func (p *Proxy) cut() {
	for l := range p.links {
		l.close()
	}
	clear(p.links)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.DialTCP("tcp", nil, p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server, gone: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.mode == Cut {
		p.mu.Unlock()
		l.close()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()

	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(l, client, server, false) })
	pumps.Go(func() { p.pump(l, server, client, true) })
	pumps.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// open waits until bytes of one direction may pass. It returns false when the link is gone.
func (p *Proxy) open(l *link, reply bool) bool {
	for {
		p.mu.Lock()
		mode, changed := p.mode, p.changed
		p.mu.Unlock()
		if mode == Pass || mode == Mute && !reply {
			return true
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

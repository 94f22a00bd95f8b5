package netfault

import (
	"net"
	"sync"
	"time"
)

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	once           sync.Once
	gone           chan struct{}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// parcel is what one read returned; its end has no bytes.
type parcel struct {
	bytes []byte
	due   time.Time
}

// pump carries one direction. Reading and writing are apart, so that a delay does not add up. The end of a stream waits
// in line like its bytes and then closes the whole link.
func (p *Proxy) pump(l *link, from, to net.Conn, reply bool) {
	line := make(chan parcel, 256)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(line)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			at := parcel{bytes: buf[:n], due: time.Now()}
			if reply {
				at.due = at.due.Add(time.Duration(p.delay.Load()))
			}
			select {
			case line <- at:
			case <-l.gone:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for at := range line {
		if !l.until(at.due) || !p.open(l, reply) {
			break
		}
		if _, err := to.Write(at.bytes); err != nil {
			break
		}
	}
	if p.open(l, reply) {
		l.close()
	}
	reader.Wait()
}

// until waits for a moment. It returns false when the link is gone before.
func (l *link) until(due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}

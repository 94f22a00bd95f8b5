package shim

import (
	"encoding/json"
	"io"
	"net"
	"time"
)

// serve answers the control socket until the process ends.
func (g *guard) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go g.answer(conn)
	}
}

func (g *guard) answer(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var r request
	if json.NewDecoder(io.LimitReader(conn, 1<<16)).Decode(&r) != nil || r.Kill == "" {
		return
	}
	g.owed.Add(1)
	defer g.owed.Done()
	g.kill(r.Kill)
	<-g.ended
	_ = json.NewEncoder(conn).Encode(answer{Exit: g.exit})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"leasehold/drivers/qemu/boot0"
)

// slowImage is a web server with the guest's image. It is in no hurry, so there is time to kill somebody while the image
// is on its way.
type slowImage struct {
	url    string
	takes  time.Duration
	server *http.Server
	begun  chan struct{} // a value for each download that began
}

func serveImage(ctx context.Context, takes time.Duration) (*slowImage, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot serve the guest's image: %w", err)
	}
	s := &slowImage{url: fmt.Sprintf("http://%s/boot0.img", l.Addr()), takes: takes, begun: make(chan struct{}, 100)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // nobody could get an image any more
		}
	}()
	return s, nil
}

// ServeHTTP sends the disk in small pieces until the client has it or is gone.
func (s *slowImage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const pieces = 64
	disk := boot0.Disk()
	w.Header().Set("Content-Length", strconv.Itoa(len(disk)))
	if r.Method == http.MethodHead {
		return
	}
	select {
	case s.begun <- struct{}{}:
	default:
	}
	pause := time.NewTicker(s.takes / pieces)
	defer pause.Stop()
	for size := len(disk) / pieces; len(disk) > 0; disk = disk[min(size, len(disk)):] {
		if _, err := w.Write(disk[:min(size, len(disk))]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *slowImage) close() error { return s.server.Close() }

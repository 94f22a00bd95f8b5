package netfault_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/internal/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each connection with what it sends, and tells what it heard.
func echo(t *testing.T) (addr string, heard <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	ch := make(chan string, 64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					ch <- string(buf[:n])
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), ch
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	_, err := io.WriteString(c, s)
	require.NoError(t, err)
}

func hears(t *testing.T, c net.Conn, s string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, len(s))
	_, err := io.ReadFull(c, buf)
	require.NoError(t, err)
	require.Equal(t, s, string(buf))
}

func hearsNothing(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func proxy(t *testing.T) (*netfault.Proxy, <-chan string) {
	t.Helper()
	addr, heard := echo(t)
	p, err := netfault.New(addr)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p, heard
}

func TestPassForwardsBothWays(t *testing.T) {
	p, _ := proxy(t)
	c := connect(t, p.Addr())
	say(t, c, "hello")
	hears(t, c, "hello")
	require.Equal(t, 1, p.Accepted())
}

func TestBlackHoleHoldsEverythingAndLetsItGoAfterwards(t *testing.T) {
	p, heard := proxy(t)
	c := connect(t, p.Addr())
	p.Set(netfault.BlackHole)
	late := connect(t, p.Addr())
	say(t, c, "hello")
	say(t, late, "me too")
	hearsNothing(t, c)
	hearsNothing(t, late)
	require.Empty(t, heard)
	p.Set(netfault.Pass)
	hears(t, c, "hello")
	hears(t, late, "me too")
}

func TestMuteLetsTheServerActAndHoldsItsAnswer(t *testing.T) {
	p, heard := proxy(t)
	c := connect(t, p.Addr())
	p.Set(netfault.Mute)
	say(t, c, "hello")
	require.Equal(t, "hello", <-heard)
	hearsNothing(t, c)
	p.Set(netfault.Pass)
	hears(t, c, "hello")
}

func TestCutThrowsAwayWhatWasHeld(t *testing.T) {
	p, heard := proxy(t)
	c := connect(t, p.Addr())
	p.Set(netfault.BlackHole)
	say(t, c, "hello")
	p.Set(netfault.Cut)
	ended(t, c)
	ended(t, connect(t, p.Addr()))
	p.Set(netfault.Pass)
	again := connect(t, p.Addr())
	say(t, again, "again")
	hears(t, again, "again")
	require.Equal(t, "again", <-heard)
}

func TestDelayIsLatencyAndNotBandwidth(t *testing.T) {
	p, heard := proxy(t)
	p.Delay(200 * time.Millisecond)
	c := connect(t, p.Addr())
	began := time.Now()
	for range 10 {
		say(t, c, "x")
		<-heard // each is a parcel of its own
	}
	hears(t, c, "xxxxxxxxxx")
	took := time.Since(began)
	require.GreaterOrEqual(t, took, 200*time.Millisecond)
	require.Less(t, took, 1900*time.Millisecond)
}

func TestCloseHasTheKernelRefuse(t *testing.T) {
	p, _ := proxy(t)
	c := connect(t, p.Addr())
	say(t, c, "hello")
	hears(t, c, "hello")
	p.Close()
	ended(t, c)
	_, err := net.Dial("tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// ended waits for the connection's end, in whatever form.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it was not ended")
}

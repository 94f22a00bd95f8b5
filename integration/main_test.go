package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/coord/coordtest"
)

// run is a goleak.TestingM for a function.
type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) })) }

// alone is an etcd for a test that counts what is written to it: leases of other tests end in the one they share.
func alone(t *testing.T) *coordtest.Server {
	t.Helper()
	s, err := coordtest.Start(coordtest.Options{TCP: true})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

package integration_test

import (
	"testing"

	"go.uber.org/goleak"

	"leasehold/coord/coordtest"
)

// run is a goleak.TestingM for a function.
type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) })) }

package boottime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/internal/boottime"
)

func TestNowNeverGoesBackAndKeepsPaceWithAnElapsedTimer(t *testing.T) {
	before := boottime.Now()
	<-time.After(20 * time.Millisecond)
	after := boottime.Now()
	require.GreaterOrEqual(t, after-before, 20*time.Millisecond)
	require.Positive(t, before)
}

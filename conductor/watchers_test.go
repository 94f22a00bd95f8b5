package conductor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatchersForgetATaskWithTheLastWhoWaits(t *testing.T) {
	w := newWatchers()
	first, second := w.watch("t1"), w.watch("t1")
	before := first.next()
	require.Equal(t, before, second.next())
	w.poke("t1")
	<-before
	w.poke("of nobody")
	first.leave()
	after := second.next()
	require.NotEqual(t, before, after)
	w.poke("t1")
	<-after
	second.leave()
	require.Empty(t, w.tasks)
}

package conductor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPageAsksEachItemForItsKeyOnce(t *testing.T) {
	asked := map[int]int{}
	l := listing[int]{
		id:   func(n int) string { return fmt.Sprintf("%04d", n) },
		key:  func(n int) string { asked[n]++; return fmt.Sprint(n % 7) },
		desc: true, query: "numbers",
	}
	for n := range 500 {
		l.items = append(l.items, n*331%500)
	}
	first, token, err := l.page(3, "")
	require.NoError(t, err)
	require.Equal(t, []int{496, 489, 482}, first, "the last key, and in it the last id")
	second, _, err := l.page(2, token)
	require.NoError(t, err)
	require.Equal(t, []int{475, 468}, second, "the next page begins behind the last of this one")
	for n, times := range asked {
		require.Equal(t, 2, times, "%d, on two pages", n)
	}
	require.Len(t, asked, 500)
}

package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

func TestTheDrawingHasEveryAction(t *testing.T) {
	lines := strings.Split(fsm.Dot(), "\n")
	for _, r := range fsm.Actions() {
		from := r.From
		if from == fsm.None {
			from = vm.Building
		}
		drawn := 0
		for _, l := range lines {
			if strings.HasPrefix(l, fmt.Sprintf("  %s -> %s [label=", from, r.To)) && strings.Contains(l, string(r.On)) {
				drawn++
			}
		}
		require.Positivef(t, drawn, "%s from %s to %s", r.On, from, r.To)
	}
	require.Contains(t, lines, "  active -> error [color=grey];")
	require.NotContains(t, lines, "  deleted -> error [color=grey];")
}

func TestTheDrawingOfTasksHasEveryTransition(t *testing.T) {
	for _, tr := range fsm.Transitions() {
		require.Contains(t, fsm.TasksDot(), fmt.Sprintf("-> %s [label=%q];", tr.To, tr.Why))
	}
}

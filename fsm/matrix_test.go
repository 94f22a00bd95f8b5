package fsm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

// verdicts is the value table: every verb in every state. A new state or verb fails here until it has a place.
const verdicts = `
              building   active     paused     suspended  stopped    rescued    error      deleted
start         .          =          .          .          active     =          (active)   .
stop          .          stopped    .          .          =          stopped    (stopped)  .
reboot        .          active     .          .          .          rescued    (active)   .
pause         .          paused     =          .          .          paused     .          .
unpause       .          =          active     .          .          =          .          .
suspend       .          suspended  .          =          .          suspended  .          .
resume        .          =          .          active     .          =          .          .
rescue        .          rescued    rescued    rescued    .          =          .          .
unrescue      .          =          .          .          .          active     .          .
rebuild       .          active     .          .          stopped    active     (active)   .
snapshot      .          active     paused     .          stopped    .          .          .
move          .          active     paused     .          stopped    .          (active)   .
attach_volume .          active     .          .          stopped    .          .          .
detach_volume .          active     .          .          stopped    .          .          .
attach_port   .          active     .          .          stopped    .          .          .
detach_port   .          active     .          .          stopped    .          .          .
set_password  .          active     .          .          .          .          .          .
delete        deleted    deleted    deleted    deleted    deleted    deleted    deleted    deleted
`

func TestEveryVerbHasItsVerdictInEveryState(t *testing.T) {
	require.Equal(t, strings.TrimPrefix(verdicts, "\n"), fsm.Matrix())
}

func TestEveryPairHasARowInExactlyOneTable(t *testing.T) {
	for _, state := range vm.States() {
		for _, on := range append(vm.Verbs(), vm.Create) {
			var legal, byFault, refused int
			for _, r := range fsm.Actions() {
				if r.From == state && r.On == on {
					legal = 1
					if r.ByFault {
						byFault = 1
					}
				}
			}
			for _, r := range fsm.Refusals() {
				if slices.Contains(r.In, state) && slices.Contains(r.On, on) {
					refused++
				}
			}
			require.Equalf(t, 1+byFault, legal+refused, "%s in %s: %d actions, %d refusals", on, state, legal, refused)
		}
	}
}

func TestEveryRowIsSound(t *testing.T) {
	type pair struct {
		from vm.State
		on   vm.Verb
	}
	to, ways := map[pair]vm.State{}, map[pair][]fsm.Mode{}
	for _, r := range fsm.Actions() {
		at := pair{r.From, r.On}
		require.NotEmptyf(t, r.Why, "%v", at)
		require.Containsf(t, vm.States(), r.To, "%v", at)
		if r.From != fsm.None {
			require.Containsf(t, vm.States(), r.From, "%v", at)
			require.Containsf(t, vm.Verbs(), r.On, "%v", at)
		}
		if end, seen := to[at]; seen {
			require.Equalf(t, end, r.To, "%v: the mode changes the end", at)
		}
		require.NotContainsf(t, ways[at], r.Mode, "%v: two rows for one mode", at)
		to[at], ways[at] = r.To, append(ways[at], r.Mode)
		require.Equalf(t, r.From == vm.Error && r.On != vm.Delete, r.ByFault, "%v: an error's list counts in error only", at)
		if r.NoOp() {
			require.Equalf(t, pair{vm.Deleted, vm.Delete}, at, "only a repeated delete does nothing")
			continue
		}
		rec, ok := fsm.Recover(r.Via)
		require.Truef(t, ok, "%v has no recovery for %s", at, r.Via)
		require.Containsf(t, rec.Of, r.On, "recovery of %s does not know %s", r.Via, r.On)
	}
	for _, r := range fsm.Refusals() {
		require.NotEmpty(t, r.Why)
	}
}

func TestTheTablesAreCopies(t *testing.T) {
	fsm.Actions()[0].To = vm.Error
	fsm.Refusals()[0].Why = ""
	fsm.Recoveries()[0].Policy = fsm.Fail
	fsm.Transitions()[0].To = vm.TaskFailed
	fsm.Restarts()[0].Does = ""

	require.Equal(t, vm.Active, fsm.Actions()[0].To)
	require.NotEmpty(t, fsm.Refusals()[0].Why)
	require.Equal(t, fsm.Redo, fsm.Recoveries()[0].Policy)
	require.Equal(t, vm.TaskRunning, fsm.Transitions()[0].To)
	require.NotEmpty(t, fsm.Restarts()[0].Does)
}

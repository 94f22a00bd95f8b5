package fsm_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

func TestEveryPairOfStateAndPowerHasOneRule(t *testing.T) {
	for _, s := range vm.States() {
		for _, p := range vm.PowerStates() {
			var rules []fsm.PowerRule
			for _, r := range fsm.PowerRules() {
				if slices.Contains(r.In, s) && slices.Contains(r.Seen, p) {
					rules = append(rules, r)
				}
			}
			require.Len(t, rules, 1, "%s seen %s", s, p)
			r := rules[0]
			require.NotEmpty(t, r.Why)
			require.Equal(t, r.Does == fsm.Follow, r.To != "", "%s seen %s", s, p)
			require.Equal(t, r.Does == fsm.Correct, r.Verb != "", "%s seen %s", s, p)
			require.Equal(t, r.To == vm.Error, len(r.Allowed) > 0, "%s seen %s: an error says what repairs it", s, p)
		}
	}
}

// What the rules lead to is at rest: seen once more, nothing follows.
func TestWhatFollowsIsAtRest(t *testing.T) {
	for _, s := range vm.States() {
		for _, p := range vm.PowerStates() {
			for _, boot := range []vm.OnHostBoot{"", vm.HostBootRestart, vm.HostBootStopped} {
				for _, a := range []fsm.Aftersight{fsm.OnPower(s, p), fsm.OnHostBoot(s, p, boot)} {
					if a.Does == fsm.Follow {
						require.Equal(t, fsm.Keep, fsm.OnPower(a.To, p).Does, "%s seen %s enters %s", s, p, a.To)
					}
				}
			}
		}
	}
}

// I6: what corrects is legal in its mode, leads back to the record, and is legal for nobody else.
func TestWhatCorrectsIsLegalForThatOnly(t *testing.T) {
	for _, s := range vm.States() {
		for _, p := range vm.PowerStates() {
			for _, a := range []fsm.Aftersight{fsm.OnPower(s, p), fsm.OnHostBoot(s, p, vm.HostBootRestart)} {
				if a.Does != fsm.Correct {
					continue
				}
				v := fsm.Decide(fsm.Subject{State: s}, a.Verb, a.Mode)
				require.Equal(t, fsm.Allowed, v.Kind, "%s of %s: %s", a.Verb, s, v.Why)
				require.Equal(t, s, v.To)
				to, err := fsm.AfterSuccess(fsm.Subject{State: s}, a.Verb)
				require.NoError(t, err)
				require.Equal(t, s, to)
				if a.Mode == fsm.Correction {
					require.Equal(t, fsm.Already, fsm.Decide(fsm.Subject{State: s}, a.Verb, fsm.Auto).Kind)
				}
			}
		}
	}
}

func TestAHostThatWasRebootedStartsWhatRan(t *testing.T) {
	for _, c := range []struct {
		state vm.State
		seen  vm.PowerState
		want  vm.OnHostBoot
		does  fsm.Does
		to    vm.State
	}{
		{vm.Active, vm.PowerShutdown, "", fsm.Correct, ""},
		{vm.Active, vm.PowerCrashed, vm.HostBootRestart, fsm.Correct, ""},
		{vm.Active, vm.PowerCrashed, vm.HostBootStopped, fsm.Follow, vm.Stopped},
		{vm.Rescued, vm.PowerShutdown, "", fsm.Correct, ""},
		{vm.Paused, vm.PowerShutdown, "", fsm.Follow, vm.Stopped},
		{vm.Stopped, vm.PowerCrashed, "", fsm.Keep, ""},
		{vm.Suspended, vm.PowerSuspended, "", fsm.Keep, ""},
		{vm.Active, vm.PowerRunning, "", fsm.Keep, ""},
		{vm.Active, vm.PowerNoState, "", fsm.Keep, ""},
		{vm.Error, vm.PowerShutdown, "", fsm.Keep, ""},
	} {
		a := fsm.OnHostBoot(c.state, c.seen, c.want)
		require.Equal(t, c.does, a.Does, "%+v", c)
		require.Equal(t, c.to, a.To, "%+v", c)
	}
}

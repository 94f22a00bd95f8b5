package workflow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
)

func TestValidateRefusesFlowsThatCannotKeepThePromises(t *testing.T) {
	type steps = map[string]*workflow.Step[world]
	for _, c := range []struct {
		name   string
		change func(s steps)
		want   string // "" is valid
	}{
		{"plain", nil, ""},
		{"no name", func(s steps) { s["b"].Name = "" }, "has no name"},
		{"same name", func(s steps) { s["b"].Name = "a" }, "name of an earlier one"},
		{"no do", func(s steps) { s["b"].Do = nil }, "has no Do"},
		{"no policy", func(s steps) { s["b"].Resume = 0 }, "no resume policy"},
		{"unknown policy", func(s steps) { s["b"].Resume = 9 }, "no resume policy"},
		{"probe without one", func(s steps) { s["b"].Resume = workflow.Probe }, "resumes by Probe and has none"},
		{"undo without one", func(s steps) { s["b"].Resume, s["b"].Undo = workflow.Undo, nil }, "by Undo and has none"},
		{"fail with undo", func(s steps) { s["b"].Resume = workflow.Fail }, "resumes by Undo, not by Fail"},
		{"fail", func(s steps) { s["b"].Resume, s["b"].Undo = workflow.Fail, nil }, ""},
		{"pure that undoes", func(s steps) { s["b"].Pure, s["b"].Resume = true, workflow.Undo }, "is pure"},
		{"negative", func(s steps) { s["b"].Silence = -1 }, "negative limit"},
		{"else without rounds", func(s steps) { s["b"].Else = "a" }, "needs both"},
		{"rounds without else", func(s steps) { s["b"].Rounds = 1 }, "needs both"},
		{"else to itself", func(s steps) { s["b"].Else, s["b"].Rounds = "b", 1 }, "no earlier step"},
		{"else forwards", func(s steps) { s["b"].Else, s["b"].Rounds = "c", 1 }, "no earlier step"},
		{"else to nowhere", func(s steps) { s["b"].Else, s["b"].Rounds = "x", 1 }, "no earlier step"},
		{"else", func(s steps) { s["c"].Else, s["c"].Rounds = "a", 1 }, ""},
		{"else over no return", func(s steps) { s["c"].Else, s["c"].Rounds, s["b"].NoReturn = "a", 1, true }, "no return"},
		{"else up to no return", func(s steps) { s["c"].Else, s["c"].Rounds, s["a"].NoReturn = "b", 1, true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := flowOf([]string{"a", "b", "c"}, c.change).Validate()
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
	require.ErrorContains(t, workflow.Flow[world]{Name: "x"}.Validate(), "no steps")
	require.ErrorContains(t, workflow.Flow[world]{Steps: flowOf([]string{"a"}, nil).Steps}.Validate(), "no name")
	require.NoError(t, create().Validate())
}

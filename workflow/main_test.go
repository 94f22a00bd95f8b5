package workflow_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"leasehold/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is for flows whose steps do nothing but be called.
type world struct{}

func nothing(context.Context, world, workflow.Beat) error { return nil }

func found(v workflow.Verdict) func(context.Context, world) (workflow.Verdict, error) {
	return func(context.Context, world) (workflow.Verdict, error) { return v, nil }
}

// flowOf is a flow of redo steps with an Undo each; change makes them what a test needs.
func flowOf(names []string, change func(s map[string]*workflow.Step[world])) workflow.Flow[world] {
	f := workflow.Flow[world]{Name: "test", Steps: make([]workflow.Step[world], len(names))}
	byName := map[string]*workflow.Step[world]{}
	for i, name := range names {
		f.Steps[i] = workflow.Step[world]{Name: name, Resume: workflow.Redo, Do: nothing, Undo: nothing}
		byName[name] = &f.Steps[i]
	}
	if change != nil {
		change(byName)
	}
	return f
}

// create is a flow with one of everything: place chooses, disk may fail and go back to place, switch has no return.
func create() workflow.Flow[world] {
	return flowOf([]string{"place", "disk", "net", "switch", "clean"}, func(s map[string]*workflow.Step[world]) {
		s["place"].Pure = true
		s["disk"].Else, s["disk"].Rounds = "place", 2
		s["net"].Undo = nil
		s["switch"].NoReturn = true
		s["switch"].Resume, s["switch"].Probe = workflow.Probe, found(workflow.Done)
	})
}

package workflowtest

import (
	"context"
	"slices"
	"strings"

	"leasehold/workflow"
)

// Trace is the order of calls: "reserve:do attach:do attach:do-error attach:undo reserve:undo".
type Trace struct{ calls []string }

func (t *Trace) String() string { return strings.Join(t.calls, " ") }

// Traced is flow with every call of its steps written to trace, as it begins and, when it fails, as it ends.
func Traced[C any](flow workflow.Flow[C], trace *Trace) workflow.Flow[C] {
	return wrapped(flow, func(_ int, s *workflow.Step[C]) {
		name, do, undo, probe := s.Name, s.Do, s.Undo, s.Probe
		s.Do = traced(trace, name+":do", do)
		if undo != nil {
			s.Undo = traced(trace, name+":undo", undo)
		}
		if probe != nil {
			s.Probe = func(ctx context.Context, c C) (workflow.Verdict, error) {
				trace.calls = append(trace.calls, name+":probe")
				return probe(ctx, c)
			}
		}
	})
}

type function[C any] = func(context.Context, C, workflow.Beat) error

func traced[C any](trace *Trace, word string, f function[C]) function[C] {
	return func(ctx context.Context, c C, beat workflow.Beat) error {
		trace.calls = append(trace.calls, word)
		err := f(ctx, c, beat)
		if err != nil {
			trace.calls = append(trace.calls, word+"-error")
		}
		return err
	}
}

// wrapped is a copy of flow whose steps went through change.
func wrapped[C any](flow workflow.Flow[C], change func(i int, s *workflow.Step[C])) workflow.Flow[C] {
	flow.Steps = slices.Clone(flow.Steps)
	for i := range flow.Steps {
		change(i, &flow.Steps[i])
	}
	return flow
}

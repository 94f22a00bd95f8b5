package workflowtest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
)

// ErrScripted is in every error that a Script makes.
var ErrScripted = errors.New("scripted")

// Script is flow with faults: words of the form step:fault, or step:fault#n for the first n calls only.
//
//	do-error  fails, nothing happened         do-late    happens, then fails
//	do-retry  retryable, nothing happened     do-lost    happens, and the outcome is unknown
//	do-gone   does not happen, and the outcome is unknown
//	do-panic  panics, nothing happened        do-hang    does nothing until its context ends
//	undo-error  undo-late  undo-panic         probe-error
func Script[C any](t testing.TB, flow workflow.Flow[C], faults string) workflow.Flow[C] {
	t.Helper()
	for word := range strings.FieldsSeq(faults) {
		name, fault, ok := strings.Cut(word, ":")
		require.True(t, ok, "fault %q is not step:fault", word)
		left := -1 // forever
		if f, n, ok := strings.Cut(fault, "#"); ok {
			var err error
			left, err = strconv.Atoi(n)
			require.NoError(t, err, "fault %q", word)
			fault = f
		}
		strikes := func() bool {
			hit := left != 0
			if left > 0 {
				left--
			}
			return hit
		}
		found := false
		flow = wrapped(flow, func(_ int, s *workflow.Step[C]) {
			if s.Name == name {
				found = true
				require.True(t, script(s, fault, strikes), "no such fault: %q", word)
			}
		})
		require.True(t, found, "no such step: %q", word)
	}
	return flow
}

// script puts one fault into s; false when it does not know it.
func script[C any](s *workflow.Step[C], fault string, strikes func() bool) bool {
	op, kind, _ := strings.Cut(fault, "-")
	switch {
	case op == "do":
		f, ok := faulty(s.Do, kind, strikes)
		s.Do = f
		return ok
	case op == "undo" && s.Undo != nil:
		f, ok := faulty(s.Undo, kind, strikes)
		s.Undo = f
		return ok
	case op == "probe" && s.Probe != nil:
		probe := s.Probe
		s.Probe = func(ctx context.Context, c C) (workflow.Verdict, error) {
			if strikes() {
				return 0, ErrScripted
			}
			return probe(ctx, c)
		}
		return kind == "error"
	}
	return false
}

func faulty[C any](f function[C], kind string, strikes func() bool) (function[C], bool) {
	after := map[string]func(error) error{"late": same, "lost": workflow.Unknown}
	before := map[string]func(error) error{"error": same, "retry": workflow.Retryable, "gone": workflow.Unknown}
	if _, ok := after[kind]; !ok && before[kind] == nil && kind != "panic" && kind != "hang" {
		return nil, false
	}
	return func(ctx context.Context, c C, beat workflow.Beat) error {
		switch {
		case !strikes():
			return f(ctx, c, beat)
		case kind == "panic":
			panic(ErrScripted)
		case kind == "hang":
			<-ctx.Done()
			return context.Cause(ctx)
		case before[kind] != nil:
			return before[kind](ErrScripted)
		}
		if err := f(ctx, c, beat); err != nil {
			return err
		}
		return after[kind](ErrScripted)
	}, true
}

func same(err error) error { return err }

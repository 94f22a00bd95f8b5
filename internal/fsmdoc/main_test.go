package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

func TestCheckFailsUntilThePagesAreWhatTheTablesSay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "docs", "fsm")
	require.EqualError(t, run(dir, true),
		"not current, run make generate: actions.dot, actions.md, actions.svg, power.md, recovery.md, tasks.dot, tasks.md")
	require.NoDirExists(t, dir, "check writes nothing")

	require.NoError(t, run(dir, false))
	require.NoError(t, run(dir, true))

	page := filepath.Join(dir, "recovery.md")
	require.NoError(t, os.WriteFile(page, []byte("by hand"), 0o600))
	require.EqualError(t, run(dir, true), "not current, run make generate: recovery.md")
	require.NoError(t, os.Remove(page))
	require.EqualError(t, run(dir, true), "not current, run make generate: recovery.md")
	require.NoError(t, run(dir, false))
	require.NoError(t, run(dir, true))
}

func TestThePagesHaveEveryRow(t *testing.T) {
	made := pages()
	for _, r := range fsm.Actions() {
		require.Contains(t, made["actions.md"], r.Why)
	}
	for _, ts := range vm.TaskStates() {
		require.Contains(t, made["recovery.md"], "| `"+string(ts)+"` |")
	}
	for _, r := range fsm.Restarts() {
		require.Contains(t, made["recovery.md"], r.Does)
	}
	for _, tr := range fsm.Transitions() {
		require.Contains(t, made["tasks.md"], tr.Why)
		require.Contains(t, made["tasks.dot"], tr.Why)
	}
}

func TestTheDrawingOfVerdictsIsWellFormed(t *testing.T) {
	decoder, titles := xml.NewDecoder(strings.NewReader(svg())), 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "title" {
			titles++
		}
	}
	require.Equal(t, len(vm.States())*len(vm.Verbs()), titles)
}

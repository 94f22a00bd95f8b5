package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// mutant is one guard switched off.
type mutant struct {
	name string // of the marker
	file string
	with string // what the marked line becomes; empty removes it
	swap string // instead: what its first word becomes
	pkg  string
	test string // must fail
	why  string // what the guard is for
}

var mutants = []mutant{
	{
		name: "claim-compare", file: "conductor/record.go", pkg: "./conductor", test: "TestAWriteWithoutItsClaimIsRefused",
		why: "a conductor that was replaced, or whose claim has expired, writes nothing",
	},
	{
		name: "record-compare", file: "conductor/record.go", pkg: "./conductor", test: "TestAWriteOverAChangedRecordKeepsTheChange",
		why: "a write never rolls back what another one has changed",
	},
	{
		name: "generation", file: "conductor/conductor.go", with: "c.storeG = generation{s.Generation, coord.Present(e.Key)}",
		pkg: "./conductor", test: "TestAWriteIntoAReplacedStoreIsRefused",
		why: "a restored store has other revisions: nothing decided before it counts",
	},
	{
		name: "reservation-compare", file: "conductor/admit.go", with: "t.If(a.c.generation().guard)",
		pkg: "./integration", test: "TestTheReservationExcludesWithoutAnyLock",
		why: "one task at a time has an instance",
	},
	{
		name: "takeover-reservation", file: "conductor/orphans.go", pkg: "./conductor", test: "TestATakeoverComparesTheReservation",
		why: "a takeover never takes a task whose instance is somebody else's by now",
	},
	{
		name: "fence-before-observe", file: "conductor/act.go",
		with: "seen, err = agent.Observe(ctx, &computev1.ObserveRequest{InstanceId: req.GetInstanceId()})",
		pkg:  "./integration", test: "TestALateCommandOfAReplacedConductorIsRefused",
		why: "no command of the conductor before lands after what was read",
	},
	{
		name: "fence-on-arrival", file: "agent/fences.go", swap: "if false &&",
		pkg: "./agent", test: "TestAStaleRunIsRefusedOnArrivalAndLeavesNoTrace",
		why: "an agent does nothing for a conductor that was replaced",
	},
	{
		name: "fence-under-mutex", file: "agent/fences.go", swap: "if false &&",
		pkg: "./agent", test: "TestAFenceRaisedBetweenTwoDriverCallsStopsTheSecond",
		why: "the fence may have grown while the command waited for its turn",
	},
	{
		name: "sync-before-ack", file: "agent/book.go", swap: "for false &&",
		pkg: "./agent", test: "TestAFenceIsNotAcknowledgedBeforeItIsOnDisk",
		why: "an agent that restarts remembers every fence it has confirmed",
	},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	survived := 0
	for _, m := range mutants {
		verdict := "killed by " + m.test
		if out, err := goTest(ctx, m, ""); err != nil {
			return fmt.Errorf("cannot judge %s: %s fails without it:\n%s", m.name, m.test, out)
		}
		overlay, err := m.overlay(dir)
		if err != nil {
			return err
		}
		out, err := goTest(ctx, m, overlay)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || !strings.Contains(out, "--- FAIL: "+m.test) {
			survived++
			verdict = "SURVIVED " + m.test + "\n" + out
		}
		fmt.Printf("%-22s %s\n%22s %s\n", m.name, verdict, "", m.why)
	}
	fmt.Printf("mutants: %d passed, %d failed\n", len(mutants)-survived, survived)
	if survived > 0 {
		return fmt.Errorf("%d guards can be switched off without a test noticing", survived)
	}
	return nil
}

// overlay writes the mutated file beside the tree and the JSON that makes the go command use it.
func (m mutant) overlay(dir string) (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(source), "\n")
	found := 0
	for i, line := range lines {
		if strings.HasSuffix(strings.TrimSpace(line), "// mutant:"+m.name) {
			lines[i] = m.with
			if first, rest, _ := strings.Cut(strings.TrimSpace(line), " "); m.swap != "" && first != "" {
				lines[i] = m.swap + " " + rest
			}
			found++
		}
	}
	if found == 0 {
		return "", fmt.Errorf("cannot find the guard: no line of %s ends in // mutant:%s", m.file, m.name)
	}
	mutated := filepath.Join(dir, m.name+".go")
	if err := os.WriteFile(mutated, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, m.name+".json")
	return path, os.WriteFile(path, b, 0o600)
}

// goTest runs the one test, with an overlay when there is one.
func goTest(ctx context.Context, m mutant, overlay string) (string, error) {
	args := []string{"test", "-count=1", "-timeout=5m", "-run", "^" + m.test + "$"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, m.pkg)...).CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		return string(out), fmt.Errorf("cannot find the test %s", m.test)
	}
	return string(out), err
}

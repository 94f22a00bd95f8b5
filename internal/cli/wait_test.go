package cli_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
	"leasehold/vm"
)

func TestWaitPrintsTheInstanceAsTheTaskLeftIt(t *testing.T) {
	cluster := clitest.New()
	run := at(cluster.Start(t)).start(t.Context(), "instance create web-1 --flavor tiny --image default --wait -o json")
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskSucceeded, nil)
	got := ended(t, run)
	require.Zero(t, got.code)
	require.Empty(t, got.err, "no terminal, no progress")
	answer := parse(t, got.out)
	require.Equal(t, "active", answer["instance"].(map[string]any)["vm_state"])
	require.Equal(t, "succeeded", answer["task"].(map[string]any)["status"])
}

func TestWaitGoesOnWhenItsConductorDies(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	run := at(a, b).start(t.Context(), "instance stop web-0 --wait")
	cluster.Await(t, "WatchTask", 1)
	a.Kill()
	cluster.Await(t, "WatchTask", 2)
	cluster.End(vm.TaskSucceeded, nil)
	got := ended(t, run)
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "stopped")
}

func TestATaskThatFailedIsPrintedAndItsReasonSaid(t *testing.T) {
	cluster := clitest.New()
	run := at(cluster.Start(t)).start(t.Context(), "instance create web-1 --flavor tiny --image default --wait")
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskFailed, &conductorv1.Fault{Reason: "driver", Message: "cannot boot it", Allowed: []string{"rebuild"}})
	got := ended(t, run)
	require.Equal(t, exit.Failed, got.code)
	require.Contains(t, got.out, "failed")
	require.Equal(t, "error: the task create of instance "+web1+" failed: cannot boot it\n"+
		"  task: "+task1+" (see it with: vmctl task show "+task1+")\n  legal now: rebuild\n", got.err)
}

func TestCtrlCLeavesTheTaskRunningAndSaysHowToGoOn(t *testing.T) {
	for _, format := range []string{"table", "json"} {
		t.Run(format, func(t *testing.T) {
			cluster := clitest.New()
			ctx, interrupt := context.WithCancel(t.Context())
			run := at(cluster.Start(t)).start(ctx, "instance stop web-0 --wait -o "+format)
			cluster.Await(t, "WatchTask", 1)
			interrupt()
			got := ended(t, run)
			require.Equal(t, exit.Interrupted, got.code)
			require.Empty(t, got.out)
			require.Empty(t, cluster.Calls("CancelTask"))
			if format == "json" {
				problem := parse(t, got.err)["error"].(map[string]any)
				require.Equal(t, "interrupted", problem["reason"])
				require.Equal(t, task1, problem["task"])
				return
			}
			require.Contains(t, got.err, "interrupted: the task "+task1+" goes on\n")
			require.Contains(t, got.err, "go on watching with: vmctl task watch "+task1+"\n")
		})
	}
}

func TestWaitTimeoutLeavesTheTaskRunning(t *testing.T) {
	cluster := clitest.New()
	got := at(cluster.Start(t)).run(t.Context(), "instance stop web-0 --wait --wait-timeout 50ms")
	require.Equal(t, exit.TimedOut, got.code)
	require.Contains(t, got.err, "not done after 50ms: the task "+task1+" goes on")
}

func TestProgressIsOneLineOfATerminal(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.terminal = true
	var out, err buffer
	done := make(chan exit.Code, 1)
	go func() {
		done <- sh.into(t.Context(), "instance create web-1 --flavor tiny --image default --wait", &out, &err)
	}()
	cluster.Await(t, "WatchTask", 1)
	cluster.Change(func(task *conductorv1.Task) {
		task.Steps[0].Host = "h1"
		task.Progress = &conductorv1.Progress{Phase: "image", Done: 3 << 20, Total: 12 << 20, Unit: "bytes"}
	})
	want := "\rcreate 01934f02-0000  spawning on h1  image 25% (3.0 MiB of 12.0 MiB)  3m12s\x1b[K"
	require.Eventually(t, func() bool { return strings.Contains(err.String(), want) }, clitest.Patience, redrawn)
	cluster.End(vm.TaskSucceeded, nil)
	require.Zero(t, <-done)
	require.True(t, strings.HasSuffix(err.String(), "\r\x1b[K"), "the line is taken away")
	require.NotContains(t, out.String(), "\x1b")
}

func TestALongProgressLineIsCutToTheTerminal(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.terminal = true
	run := sh.start(t.Context(), "instance stop web-0 --wait")
	cluster.Await(t, "WatchTask", 1)
	cluster.Change(func(task *conductorv1.Task) { task.Waiting = &conductorv1.Wait{Message: strings.Repeat("long ", 50)} })
	cluster.End(vm.TaskSucceeded, nil)
	for line := range strings.SplitSeq(ended(t, run).err, "\r") {
		require.Less(t, len([]rune(strings.TrimSuffix(line, "\x1b[K"))), 100)
	}
}

func TestWatchPrintsALineForEachChange(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Zero(t, sh.run(t.Context(), "instance stop web-0").code)
	run := sh.start(t.Context(), "task watch "+task1[:13])
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskSucceeded, nil)
	got := ended(t, run)
	require.Zero(t, got.code, got.err)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	require.Equal(t, "stop 01934f01-0000  succeeded  12s", lines[len(lines)-1])
}

func TestWatchAsJSONIsOneObjectALine(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.run(t.Context(), "instance stop web-0")
	cluster.End(vm.TaskCancelled, &conductorv1.Fault{Reason: "cancelled", Message: "ann asked"})
	got := sh.run(t.Context(), "task watch "+task1+" -o json")
	require.Equal(t, exit.Failed, got.code)
	require.Equal(t, 1, strings.Count(got.out, "\n"))
	require.Equal(t, "cancelled", parse(t, got.out)["status"])
	require.Contains(t, parse(t, got.err)["error"].(map[string]any)["message"], "was cancelled: ann asked")
}

func TestTaskWaitPrintsTheTask(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.run(t.Context(), "instance stop web-0")
	run := sh.start(t.Context(), "task wait "+task1)
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskSucceeded, nil)
	got := ended(t, run)
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "\ntimeline:\n"+
		"  AFTER    TOOK     WHAT          HOST  RESULT\n"+
		"  0.000s   -        conductor c1  -     admitted\n"+
		"  0.000s   12.000s  powering_off  -     done\n"+
		"  12.000s  -        end           -     succeeded\n")
}

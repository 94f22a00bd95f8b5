package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/vm"
)

func (h *host) journal() string { return filepath.Join(h.dir, "journal") }

// open tries whether an agent takes the directory as it is.
func (h *host) open(dir string) error {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.t, err)
	defer func() { require.NoError(h.t, listener.Close()) }()
	cfg := h.cfg
	cfg.DataDir, cfg.Listener = dir, listener
	a, err := agent.New(h.t.Context(), cfg)
	if err != nil {
		return err
	}
	return a.Close()
}

func TestASecondAgentIsRefused(t *testing.T) {
	h := newHost(t)
	err := h.open(h.dir)
	require.ErrorContains(t, err, "another agent holds it")
	require.ErrorContains(t, err, fmt.Sprint(os.Getpid()))
	require.NoError(t, h.stop())
	require.NoError(t, h.open(h.dir))
}

func TestATornEndIsDroppedWhereverItIsTorn(t *testing.T) {
	h := newHost(t)
	h.fenced(raising(200))
	require.NoError(t, h.stop())
	whole, err := os.ReadFile(h.journal())
	require.NoError(t, err)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut < len(whole); cut++ {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal"), whole[:cut], 0o600))
		require.NoError(t, h.open(dir), "cut at %d", cut)
		require.NoError(t, h.open(dir), "cut at %d and opened again", cut)
	}
	// A crash may also leave blocks that were never written: zeroes in a file that is long enough.
	require.NoError(t, os.WriteFile(h.journal(), append(bytes.Clone(whole), make([]byte, 4096)...), 0o600))
	h.start()
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
}

func TestADamagedMiddleIsRefused(t *testing.T) {
	h := newHost(t)
	h.fenced(raising(200))
	h.done(command(300, 1, creating()))
	require.NoError(t, h.stop())
	whole, err := os.ReadFile(h.journal())
	require.NoError(t, err)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for at := 0; at < last; at += 7 {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 0x10
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal"), spoilt, 0o600))
		require.ErrorContains(t, h.open(dir), "cannot use the journal", "byte %d", at)
	}
}

func TestAJournalOfANewerAgentIsRefused(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.stop())
	f, err := os.OpenFile(h.journal(), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(agent.Frame([]byte(`[{"wormhole":{"to":"h2"}}]`)))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorContains(t, h.open(h.dir), "wormhole")
}

func TestWhoLosesTheJournalLosesTheEpoch(t *testing.T) {
	h := newHost(t)
	first := h.conductor.registered(t)
	h.restart()
	second := h.conductor.registered(t)
	require.Equal(t, first.GetDataDirId(), second.GetDataDirId())
	require.EqualValues(t, epoch, second.GetEpoch())
	require.NoError(t, h.stop())
	require.NoError(t, os.Remove(h.journal()))
	h.start()
	third := h.conductor.registered(t)
	require.NotEqual(t, first.GetDataDirId(), third.GetDataDirId())
	require.Zero(t, third.GetEpoch())
	h.refused(vm.ReasonWrongEpoch, command(100, 1, creating()))
}

func TestConcurrentStepsShareSyncs(t *testing.T) {
	h := newHost(t)
	const steps = 40
	before := h.stats().GetSyncs()
	sync := h.points.hold("journal:before:sync")
	begins := h.points.hold("journal:before:begin")
	var results []<-chan answer[*computev1.StepResult]
	for i := range steps {
		id := fmt.Sprintf("0192f0a0-0000-7000-8000-0000000001%02d", i)
		results = append(results, h.runBeside(command(int64(100+i), 1, byTask("task-"+id), creating(), on(id))))
	}
	for range steps {
		await(t, "all begins", begins.reached)
	}
	h.points.let("journal:before:begin")
	await(t, "the first sync", sync.reached)
	h.points.let("journal:before:sync")
	for _, r := range results {
		a := await(t, "a result", r)
		require.NoError(t, a.err)
		require.Equal(t, "done", a.value.GetOutcome())
	}
	syncs := h.stats().GetSyncs() - before
	require.Less(t, syncs, int64(steps+2), "%d steps have %d writes", steps, 2*steps)
	require.EqualValues(t, steps, h.stats().GetRunning())
	require.GreaterOrEqual(t, h.stats().GetSteps(), int64(steps))
}

func TestAStepCostsTwoSyncs(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	before := h.stats().GetSyncs()
	h.done(command(100, 2, stopping(0)))
	require.Equal(t, before+2, h.stats().GetSyncs())
}

func TestTheJournalStaysSmallAndForgetsNoFence(t *testing.T) {
	h := newHost(t, func(c *agent.Config) { c.JournalLimit = 8 << 10 })
	const second = "0192f0a0-0000-7000-8000-000000000002"
	h.done(command(50, 1, byTask("first"), creating(), on(second), with("volume", "vol")))
	h.done(command(60, 1, byTask("second"), deleting, on(second)))
	for i := range int64(200) {
		h.done(command(100+i, 1, byTask(fmt.Sprintf("task-%d", i)), stopping(0), func(r *computev1.RunRequest) {
			if i == 0 {
				creating()(r)
			}
		}))
	}
	size, err := os.Stat(h.journal())
	require.NoError(t, err)
	require.Less(t, size.Size(), int64(32<<10))
	h.kill()
	h.refused(vm.ReasonStateForbids, command(1000, 1, creating(), on(second)))
	h.refused(vm.ReasonStaleFence, command(49, 1, byTask(other), stopping(0), with("volume", "vol")))
	h.refused(vm.ReasonStaleFence, command(298, 1, byTask("task-198"), stopping(0)))
	h.refused(vm.ReasonStaleFence, command(298, 2, byTask("task-198"), stopping(0)))
	require.Len(t, h.fenced(raising(400)).GetJournal(), 16)
}

// age makes everything in the journal of a stopped agent that much older.
func (h *host) age(by time.Duration) {
	h.t.Helper()
	text, err := os.ReadFile(h.journal())
	require.NoError(h.t, err)
	var aged []byte
	for frame := range bytes.Lines(text) {
		payload := bytes.SplitN(bytes.TrimSuffix(frame, []byte{'\n'}), []byte{' '}, 3)[2]
		payload = stamp.ReplaceAllFunc(payload, func(field []byte) []byte {
			at, err := time.Parse(time.RFC3339Nano, string(stamp.FindSubmatch(field)[1]))
			require.NoError(h.t, err)
			return fmt.Appendf(nil, `"at":%q`, at.Add(-by).Format(time.RFC3339Nano))
		})
		aged = append(aged, agent.Frame(payload)...)
	}
	require.NoError(h.t, os.WriteFile(h.journal(), aged, 0o600))
}

var stamp = regexp.MustCompile(`"at":"([^"]+)"`)

// compact fences another instance until the journal has been replaced by a snapshot, and returns that.
func (h *host) compact() map[string]map[string]json.RawMessage {
	h.t.Helper()
	for i := int64(1); ; i++ {
		require.Less(h.t, i, int64(1000), "the journal is never replaced")
		h.fenced(raising(i, func(r *computev1.FenceRequest) { r.InstanceId, r.Resources, r.TaskId = "another", nil, "of-another" }))
		if kept := h.kept(); kept["fences"]["instance/another"] != nil {
			return kept
		}
	}
}

// kept is what the snapshot at the beginning of the journal has.
func (h *host) kept() map[string]map[string]json.RawMessage {
	h.t.Helper()
	text, err := os.ReadFile(h.journal())
	require.NoError(h.t, err)
	first, _, _ := bytes.Cut(text, []byte{'\n'})
	var entries []struct {
		Snapshot map[string]json.RawMessage `json:"snapshot"`
	}
	require.NoError(h.t, json.Unmarshal(bytes.SplitN(first, []byte{' '}, 3)[2], &entries))
	kept := map[string]map[string]json.RawMessage{}
	for _, part := range []string{"fences", "tasks", "tombstones", "steps"} {
		var all map[string]json.RawMessage
		require.NoError(h.t, json.Unmarshal(entries[0].Snapshot[part], &all))
		kept[part] = all
	}
	return kept
}

func TestOfWhatWasDeletedLongAgoOnlyTheTombstoneIsKept(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		kept int
	}{{23 * time.Hour, 5}, {25 * time.Hour, 0}} {
		t.Run(c.age.String(), func(t *testing.T) {
			h := newHost(t, func(c *agent.Config) { c.JournalLimit = 1 })
			var ids []string
			for i := range int64(5) {
				id := fmt.Sprintf("0192f0a0-0000-7000-8000-00000000010%d", i)
				ids = append(ids, id)
				h.done(command(100+i, 1, byTask("task-"+id), creating(), on(id)))
				h.done(command(100+i, 2, byTask("task-"+id), deleting, on(id)))
			}
			h.fenced(raising(300, func(r *computev1.FenceRequest) { r.InstanceId, r.Resources, r.TaskId = ids[0], nil, "task-"+ids[0] }))
			require.NoError(t, h.stop())
			h.age(c.age)
			h.start()
			kept := h.compact()
			require.Len(t, kept["tombstones"], 5)
			require.Len(t, kept["steps"], c.kept)
			require.Len(t, kept["fences"], c.kept+1, "and the other instance's")
			require.Len(t, kept["tasks"], c.kept+1)

			refuse := func() {
				t.Helper()
				require.EqualValues(t, 300, h.observe(vm.InstanceID(ids[0])).GetFence().GetRevision())
				h.refused(vm.ReasonStaleFence, command(299, 9, byTask("task-"+ids[0]), deleting, on(ids[0])))
				h.refused(vm.ReasonStateForbids, command(300, 9, byTask("task-"+ids[0]), creating(), on(ids[0])))
				for i, id := range ids[1:] {
					deleted := int64(101 + i)
					require.Equal(t, deleted, h.observe(vm.InstanceID(id)).GetFence().GetRevision())
					h.refused(vm.ReasonStaleFence, command(deleted-1, 9, byTask(other), stopping(0), on(id)))
					h.refused(vm.ReasonStateForbids, command(1000, 9, byTask(other), creating(), on(id)))
				}
			}
			refuse()
			made := len(h.hyp.made())
			h.done(command(104, 2, byTask("task-"+ids[4]), deleting, on(ids[4])))
			if c.kept > 0 {
				require.Len(t, h.hyp.made(), made, "the journal has the answer")
			}
			h.kill()
			refuse()
		})
	}
}

func TestAStepUnderWayIsNotForgotten(t *testing.T) {
	h := newHost(t, func(c *agent.Config) { c.JournalLimit = 1 })
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, deleting))
	require.NoError(t, h.stop())
	h.age(25 * time.Hour)
	h.start()
	at := h.points.hold("driver:before:destroy")
	first := h.runBeside(command(100, 3, deleting))
	await(t, "the delete", at.reached)
	require.Len(t, h.compact()["steps"], 1)
	second := h.runBeside(command(100, 3, deleting)) // joins, or has the first one's answer
	h.points.let("driver:before:destroy")
	for _, call := range []<-chan answer[*computev1.StepResult]{first, second} {
		a := await(t, "the result", call)
		require.NoError(t, a.err)
		require.Equal(t, "done", a.value.GetOutcome())
	}
	require.Equal(t, []string{"prepare", "start", "destroy", "destroy"}, h.hyp.made())
}

func TestACrashWhileTheJournalIsReplacedLosesNothing(t *testing.T) {
	h := newHost(t, func(c *agent.Config) { c.JournalLimit = 1 })
	h.fenced(raising(200))
	require.NoError(t, os.WriteFile(h.journal()+".new", []byte("half a journ"), 0o600))
	h.fenced(raising(300))
	h.kill()
	h.refused(vm.ReasonStaleFence, command(299, 1, creating()))
}

func TestNothingIsAcknowledgedAfterTheDiskFailed(t *testing.T) {
	h := newHost(t, func(c *agent.Config) { c.JournalLimit = 2 << 10 })
	require.NoError(t, os.Mkdir(h.journal()+".new", 0o700)) // the next snapshot cannot be written
	var err error
	for i := int64(1); err == nil && i < 100; i++ {
		_, err = h.fence(raising(200 + i))
	}
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
	require.ErrorContains(t, h.stop(), "cannot go on without a journal")
}

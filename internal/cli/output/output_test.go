package output_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/output"
	"leasehold/vm"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// printed is what show makes, 3m12s after everything began.
func printed(t *testing.T, format output.Format, show func(output.Printer) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, show(output.Printer{
		Out: &b, Format: format, Now: func() time.Time { return began.Add(192 * time.Second) },
	}))
	return b.String()
}

func at(after time.Duration) *timestamppb.Timestamp { return timestamppb.New(began.Add(after)) }

func TestDurationHasTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                         "0s",
		999 * time.Millisecond:               "0s",
		59 * time.Second:                     "59s",
		time.Minute:                          "1m0s",
		3*time.Minute + 12*time.Second:       "3m12s",
		time.Hour + 59*time.Second:           "1h0m",
		26*time.Hour + 3*time.Minute:         "1d2h",
		400 * 24 * time.Hour:                 "400d0h",
		5*time.Hour + 3*time.Minute + 999999: "5h3m",
	} {
		require.Equal(t, want, output.Duration(d), d)
	}
}

func TestBytesTakesTheUnitThatFits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 30 << 20: "30.0 MiB", 5 << 30: "5.0 GiB", 1 << 50: "1.0 PiB",
		math.MaxInt64: "8.0 EiB",
	} {
		require.Equal(t, want, output.Bytes(n))
	}
}

func TestTaskLine(t *testing.T) {
	step := func(name, status, host string) []*conductorv1.Step {
		return []*conductorv1.Step{{Name: "old", Status: "done"}, {Name: name, Status: status, Host: host}}
	}
	const prefix = "create 01934f6e-0000  "
	for want, task := range map[string]*conductorv1.Task{
		"queued  12s":           {Status: "queued"},
		"spawning on h1  12s":   {Status: "running", Steps: step("spawning", "doing", "h1")},
		"undoing disk  12s":     {Status: "running", Steps: step("disk", "undoing", "")},
		"running  12s":          {Status: "running", Steps: step("disk", "done", "h1")},
		"waiting: h1 down  12s": {Status: "running", Steps: step("disk", "doing", "h1"), Waiting: &conductorv1.Wait{Message: "h1 down"}},
		"succeeded  12s":        {Status: "succeeded"},
		"failed  no disk  12s":  {Status: "failed", Error: &conductorv1.Fault{Message: "no\ndisk"}},
		"disk on h1  image 50% (1.0 KiB of 2.0 KiB)  12s": {
			Status: "running", Steps: step("disk", "doing", "h1"),
			Progress: &conductorv1.Progress{Phase: "image", Done: 1024, Total: 2048, Unit: "bytes"},
		},
		"disk on h1  image 3 blocks slowly  12s": {
			Status: "running", Steps: step("disk", "doing", "h1"),
			Progress: &conductorv1.Progress{Phase: "image", Done: 3, Unit: "blocks", Note: "slowly"},
		},
		"disk on h1  image 100% (5 of 4)  12s": {
			Status: "running", Steps: step("disk", "doing", "h1"), Progress: &conductorv1.Progress{Phase: "image", Done: 5, Total: 4},
		},
	} {
		task.Kind, task.Instance, task.CreatedAt = "create", "01934f6e-0000-7000-8000-000000000001", at(0)
		require.Equal(t, prefix+want, output.TaskLine(task, began.Add(12*time.Second)))
	}
}

func TestTables(t *testing.T) {
	hosts := &conductorv1.ListHostsResponse{Hosts: []*conductorv1.Host{{
		Name: "h1", Status: "up", Admin: "enabled", Driver: "sim", Version: "1", Instances: 2, Since: at(0), Address: "h1:9001",
		Capacity: &conductorv1.Size{Vcpus: 64, MemoryMib: 1024, DiskGib: 20}, Allocated: &conductorv1.Size{Vcpus: 2, MemoryMib: 256, DiskGib: 2},
	}}}
	locks := &conductorv1.ListLocksResponse{Locks: []*conductorv1.Lock{{
		Kind: "instance", Id: "i1", Task: "01934f6e-0000-7000-8000-000000000001", TaskKind: "stop", Conductor: "c2", Since: at(0), Revision: 9,
	}}}
	conductors := &conductorv1.ListConductorsResponse{Conductors: []*conductorv1.ConductorInfo{
		{Name: "c1", Address: "a:1", Http: "a:2", Tasks: 3, Version: "v1", Started: at(0), Self: true},
		{Name: "c2", Address: "b:1", Http: "b:2", Version: "v1", Started: at(time.Minute)},
	}}
	fsm := &conductorv1.FSM{
		Actions: []*conductorv1.ActionRow{
			{From: "active", Action: "stop", Via: "powering_off", To: "stopped", Host: "up", Why: "asked"},
			{
				From: "error", Action: "reboot", Mode: "hard", Via: "rebooting_hard", To: "active", Host: "up", ByFault: true,
				Why: "a reset",
			},
			{From: "active", Action: "delete", Via: "deleting", To: "deleted", Host: "any", Preempts: true, Why: "always"},
		},
		Recovery: []*conductorv1.RecoveryRow{{TaskState: "pausing", Policy: "probe", Then: "redo", Why: "it may have happened"}},
		Power: []*conductorv1.PowerRow{
			{VmState: "active", PowerState: "running", Does: "keep", Why: "as it should be"},
			{VmState: "active", PowerState: "shutdown", Does: "follow", To: "stopped", Why: "it powered itself off"},
			{VmState: "stopped", PowerState: "running", Does: "correct", Verb: "stop", Why: "behind our back"},
		},
		Restart: []*conductorv1.RestartRow{{Finding: "fence", Does: "refuses older ones", Why: "it was synced"}},
	}
	images := &conductorv1.ListImagesResponse{Images: []*conductorv1.Image{
		{Id: "i1", Name: "default", Format: "raw", Url: "builtin:boot0", Status: "active", CreatedAt: at(0)},
		{Id: "i2", Name: "nightly", Format: "raw", Url: "host://h1/i2", Status: "saving", Host: "h1", CreatedAt: at(time.Minute)},
	}}
	flavors := &conductorv1.ListFlavorsResponse{Flavors: []*conductorv1.Flavor{
		{Name: "tiny", Vcpus: 1, MemoryMib: 128, DiskGib: 1, CreatedAt: at(0)},
	}}
	actions := &conductorv1.ListActionsResponse{Actions: []*conductorv1.Action{
		{Action: "start", Reason: "state_forbids", Message: "01934f6e-0000-7000-8000-000000000001 is active"},
		{Action: "stop", Legal: true, To: "stopped", Via: "powering_off", Message: "asked"},
	}}
	usage := &conductorv1.Usage{Host: "h1", Vcpus: []*conductorv1.VCPU{
		{Run: durationpb.New(3*time.Minute + 1500*time.Microsecond), Wait: durationpb.New(20 * time.Millisecond)},
		{Run: durationpb.New(time.Second)},
	}}
	for name, c := range map[string]struct {
		format output.Format
		print  func(output.Printer) error
		want   string
	}{
		"hosts": {output.Table, func(p output.Printer) error { return p.Hosts(hosts) }, "" +
			"NAME  STATUS  ADMIN    DRIVER  INSTANCES  VCPUS  MEMORY MIB  DISK GIB  SINCE\n" +
			"h1    up      enabled  sim     2          2/64   256/1024    2/20      3m12s\n"},
		"hosts wide": {output.Wide, func(p output.Printer) error { return p.Hosts(hosts) }, "" +
			"NAME  STATUS  ADMIN    DRIVER  VERSION  INSTANCES  VCPUS  MEMORY MIB  DISK GIB  ADDRESS  EPOCH  SINCE\n" +
			"h1    up      enabled  sim     1        2          2/64   256/1024    2/20      h1:9001  0      3m12s\n"},
		"host": {output.Table, func(p output.Printer) error { return p.Host(hosts.GetHosts()[0]) }, "" +
			"name:       h1\nstatus:     up\nadmin:      enabled\ndriver:     sim\nversion:    1\ninstances:  2\n" +
			"capacity:   64 vCPU, 1024 MiB, 20 GiB\nallocated:  2 vCPU, 256 MiB, 2 GiB\naddress:    h1:9001\nepoch:      0\n" +
			"since:      2026-01-02T03:04:05Z (3m12s ago)\nrevision:   0\n"},
		"locks": {output.Table, func(p output.Printer) error { return p.Locks(locks) }, "" +
			"KIND      ID  TASK           DOING  CONDUCTOR  SINCE\n" +
			"instance  i1  01934f6e-0000  stop   c2         3m12s\n"},
		"locks wide": {output.Wide, func(p output.Printer) error { return p.Locks(locks) }, "" +
			"KIND      ID  TASK                                  DOING  CONDUCTOR  REVISION  SINCE\n" +
			"instance  i1  01934f6e-0000-7000-8000-000000000001  stop   c2         9         3m12s\n"},
		"conductors": {output.Table, func(p output.Printer) error { return p.Conductors(conductors) }, "" +
			"NAME          ADDRESS  HTTP  TASKS  VERSION  UP\n" +
			"c1 (answers)  a:1      a:2   3      v1       3m12s\n" +
			"c2            b:1      b:2   0      v1       2m12s\n"},
		"fsm": {output.Table, func(p output.Printer) error { return p.FSM(fsm) }, "" +
			"FROM    ACTION       TO       WHY\n" +
			"active  stop         stopped  asked\n" +
			"error   reboot hard  active   a reset\n" +
			"active  delete       deleted  always\n\n" +
			"TASK STATE  AFTER A CRASH  ELSE  WHY\n" +
			"pausing     probe          redo  it may have happened\n\n" +
			"STATE    SEEN      DOES             WHY\n" +
			"active   running   keep             as it should be\n" +
			"active   shutdown  follow: stopped  it powered itself off\n" +
			"stopped  running   correct: stop    behind our back\n\n" +
			"AN AGENT STARTS AND FINDS  DOES                WHY\n" +
			"fence                      refuses older ones  it was synced\n"},
		"actions wide": {output.Wide, func(p output.Printer) error {
			return p.FSM(&conductorv1.FSM{Actions: fsm.GetActions()[1:]})
		}, "" +
			"FROM    ACTION       VIA             TO       HOST  PREEMPTS  IF ITS ERROR ALLOWS  RETURNS TO RESCUED  WHY\n" +
			"error   reboot hard  rebooting_hard  active   up    -         yes                  -                   a reset\n" +
			"active  delete       deleting        deleted  any   yes       -                    -                   always\n"},
		"images": {output.Table, func(p output.Printer) error { return p.Images(images) }, "" +
			"ID  NAME     FORMAT  SIZE  STATUS  HOST  AGE\n" +
			"i1  default  raw     -     active  -     3m12s\n" +
			"i2  nightly  raw     -     saving  h1    2m12s\n"},
		"flavors": {output.Table, func(p output.Printer) error { return p.Flavors(flavors) }, "" +
			"NAME  VCPUS  MEMORY MIB  DISK GIB  AGE\n" +
			"tiny  1      128         1         3m12s\n"},
		"actions": {output.Table, func(p output.Printer) error { return p.Actions(actions) }, "" +
			"ACTION  LEGAL  TO       WHY\n" +
			"stop    yes    stopped  asked\n" +
			"start   no     -        01934f6e-0000 is active\n"},
		"usage": {output.Table, func(p output.Printer) error { return p.Usage(usage) }, "" +
			"VCPU  RUN       WAIT\n" +
			"0     3m0.002s  20ms\n" +
			"1     1s        0s\n"},
		"usage of what is off": {
			output.Table, func(p output.Printer) error { return p.Usage(&conductorv1.Usage{Host: "h1"}) },
			"nothing of it executes on host h1\n",
		},
		"nothing": {
			output.Table, func(p output.Printer) error { return p.Locks(&conductorv1.ListLocksResponse{}) },
			"KIND  ID  TASK  DOING  CONDUCTOR  SINCE\n",
		},
	} {
		require.Equal(t, c.want, printed(t, c.format, c.print), name)
	}
}

func TestADownHostAndAnErrorAreSeen(t *testing.T) {
	broken := &conductorv1.Instance{
		Id: "i1", Name: "web-1", VmState: "error", Host: "h1", HostStatus: "down", HostDownSince: at(time.Minute),
		PowerState: "crashed", PowerDetail: "io-error", Rescue: &conductorv1.Rescue{Image: "m1", Since: at(0)},
		OnHostBoot: "stopped", Remains: []string{"h3", "h4"},
		Error: &conductorv1.Fault{Reason: "driver", Message: "no disk", Task: "t1", Since: at(0), Allowed: []string{"rebuild", "move"}},
	}
	shown := printed(t, output.Table, func(p output.Printer) error { return p.Instance(broken) })
	for _, line := range []string{
		"host:          h1 (down since 2026-01-02T03:05:05Z (2m12s ago))\n",
		"power:         crashed (io-error)\n",
		"rescue:        from image m1 since 2026-01-02T03:04:05Z (3m12s ago)\n",
		"on host boot:  stopped\n",
		"remains on:    h3, h4\n",
		"driver: no disk; task t1; since 2026-01-02T03:04:05Z (3m12s ago); repaired by rebuild, move\n",
	} {
		require.Contains(t, shown, line)
	}
	list := &conductorv1.ListInstancesResponse{Instances: []*conductorv1.Instance{broken}}
	require.Contains(t, printed(t, output.Table, func(p output.Printer) error { return p.Instances(list) }),
		"  crashed  h1 (down)  ")
	require.Contains(t, printed(t, output.Wide, func(p output.Printer) error { return p.Instances(list) }),
		"  crashed (io-error)  h1 (down for 2m12s)  ")
}

func TestTheRestOfADeletedInstanceIsSeen(t *testing.T) {
	hidden := &conductorv1.ListInstancesResponse{Instances: []*conductorv1.Instance{
		{Id: "i1", Name: "web-1", VmState: "deleted", TaskState: "deleting", Remains: []string{"h2"}},
	}}
	require.Contains(t, printed(t, output.Table, func(p output.Printer) error { return p.Instances(hidden) }),
		"i1  web-1  deleted  deleting  -      h2    ")
}

func TestAHostShowsWhatItCanDoAndWhoSignedForIt(t *testing.T) {
	off := &conductorv1.Host{
		Name: "h2", Status: "down", Powers: []string{"suspend", "rescue"},
		Fenced: &conductorv1.Signature{By: "ann", Reason: "unplugged", At: at(0)},
	}
	shown := printed(t, output.Table, func(p output.Printer) error { return p.Host(off) })
	require.Contains(t, shown, "status:     down (fenced)\n")
	require.Contains(t, shown, "fenced:     unplugged; signed by ann 2026-01-02T03:04:05Z (3m12s ago)\n")
	require.Contains(t, shown, "powers:     suspend, rescue\n")
}

func TestAnOrderThatMakesAnImageShowsIt(t *testing.T) {
	order := &conductorv1.InstanceTask{
		Instance: &conductorv1.Instance{Name: "web-1", VmState: "active"},
		Task:     &conductorv1.Task{Id: "t1", Instance: "i1", Kind: "snapshot", Status: "running"},
		Image:    &conductorv1.Image{Id: "m1", Name: "nightly", Status: "saving"},
	}
	show := func(p output.Printer) error { return p.Order(order) }
	require.Equal(t, "INSTANCE  NAME   STATE   TASK  KIND      STATUS   IMAGE\n"+
		"i1        web-1  active  t1    snapshot  running  nightly (saving)\n", printed(t, output.Table, show))
	require.Contains(t, printed(t, output.Wide, show), "  nightly (saving)  m1\n")
}

func TestAWaitingTaskSaysForWhat(t *testing.T) {
	task := &conductorv1.Task{Id: "t1", Status: "waiting", Waiting: &conductorv1.Wait{
		Reason: "locked", Message: "the volume is busy", On: &conductorv1.ResourceName{Kind: "volume", Id: "v1"}, Holder: "t0",
		Since: at(0), RetryAt: at(time.Hour),
	}}
	require.Contains(t, printed(t, output.Table, func(p output.Printer) error { return p.Task(task) }),
		"locked: the volume is busy; on volume/v1; held by t0; since 2026-01-02T03:04:05Z (3m12s ago); "+
			"tried again at 2026-01-02T04:04:05Z\n")
}

func TestNamesCannotPlayWithTheTerminal(t *testing.T) {
	evil := &conductorv1.Instance{Id: "i1", Name: "a\x1b[2J\tb\u009bc", VmState: "active"}
	for _, format := range output.Formats() {
		text := printed(t, format, func(p output.Printer) error {
			return p.Instances(&conductorv1.ListInstancesResponse{Instances: []*conductorv1.Instance{evil}})
		})
		require.NotContains(t, text, "\x1b", format)
		require.NotContains(t, text, "\u009b", format)
		if !format.Structured() {
			require.Contains(t, text, "a\uFFFD[2J b\uFFFDc")
		}
	}
}

func TestJSONIsTheSameEveryTime(t *testing.T) {
	flavor := func(p output.Printer) error { return p.Flavor(&conductorv1.Flavor{Name: "tiny", Vcpus: 1}) }
	first := printed(t, output.JSON, flavor)
	require.Contains(t, first, "{\n  \"id\": \"\",\n  \"name\": \"tiny\",\n  \"vcpus\": 1,\n  \"memory_mib\": 0,")
	require.Equal(t, first, printed(t, output.JSON, flavor))
}

func TestAProblemForPeopleAndForPrograms(t *testing.T) {
	refusal := &vm.Refusal{
		Why: vm.ReasonHostDown, Message: "cannot stop web-1: its host is down", Host: "h1", Since: began,
		RetryAt: began.Add(time.Hour), Allowed: []vm.Verb{vm.Delete}, Facts: map[string]string{"epoch": "4\x1b"},
	}
	p := output.ProblemOf(refusal, "host_down", 4, "do this next")
	var text, asJSON bytes.Buffer
	p.Print(&text, output.Table, began.Add(time.Minute))
	require.Equal(t, "error: cannot stop web-1: its host is down\n"+
		"  since: 2026-01-02T03:04:05Z (1m0s ago)\n  host: h1\n  tried again: 2026-01-02T04:04:05Z (in 59m0s)\n"+
		"  legal now: delete\n  epoch: 4\uFFFD\n  do this next\n", text.String())
	p.Print(&asJSON, output.JSON, began)
	var parsed struct{ Error output.Problem }
	require.NoError(t, json.Unmarshal(asJSON.Bytes(), &parsed))
	require.Equal(t, p, parsed.Error)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWhatCannotBePrintedIsAnError(t *testing.T) {
	p := output.Printer{Out: full{}, Now: time.Now}
	for _, format := range output.Formats() {
		p.Format = format
		require.ErrorContains(t, p.Locks(&conductorv1.ListLocksResponse{}), "cannot print: disk full", format)
		require.ErrorContains(t, p.TaskChange(&conductorv1.Task{}), "cannot print: disk full", format)
		require.ErrorContains(t, p.Version("v1"), "cannot print: disk full", format)
	}
}

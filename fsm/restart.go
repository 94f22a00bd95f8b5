package fsm

import "slices"

// Finding is what an agent meets on its host when it starts.
type Finding string

// The findings. Several may hold for one machine; each has its row.
const (
	FoundBegun     Finding = "step begun, not ended"
	FoundEnded     Finding = "step ended"
	FoundFence     Finding = "fence"
	FoundMachine   Finding = "machine that executes"
	FoundIdle      Finding = "machine that does not execute"
	FoundHalfMade  Finding = "half-made machine"
	FoundTombstone Finding = "tombstone and anything of its machine"
	FoundUnknown   Finding = "machine without a spec that can be read"
	FoundFrozen    Finding = "frozen machine"
	FoundNewBoot   Finding = "another boot id"
	FoundFresh     Finding = "fresh data directory"
)

// Restart is the rule for one finding: what the agent does before it registers, and after. It changes a machine on
// positive evidence only; everything else waits for a conductor's command under a fence.
type Restart struct {
	Finding Finding
	Does    string
	Why     string
}

// Restarts returns the table of an agent's start. What it does with a step under each task_state is Recovery.Agent.
func Restarts() []Restart { return slices.Clone(restarts) }

var restarts = []Restart{
	{FoundBegun, "writes interrupted as its outcome and answers that to the same command", "it may have had any effect; whether it is done again is the conductor's policy"},
	{FoundEnded, "gives the same command the same answer", "a conductor that lost the answer asks again (P5)"},
	{FoundFence, "refuses everything older, as before", "it was synced before it was answered, so nobody old gets through (P1)"},
	{FoundMachine, "attaches to it and reports it; neither starts, stops nor resets it", "machines outlive the agent"},
	{FoundIdle, "reports its power state and leaves it off", "only a conductor knows whether it is wanted elsewhere (P2)"},
	{FoundHalfMade, "keeps it and reports that it is there", "the task that made it is open, and makes it again or undoes it (P6)"},
	{FoundTombstone, "destroys what is left", "the tombstone is proof that its delete was commanded here (P2, P6)"},
	{FoundUnknown, "quarantines it: reported, never touched", "what is not understood is not ours to destroy"},
	{FoundFrozen, "keeps it frozen until a conductor that read the store after this registration says thaw", "it may run elsewhere already (P2)"},
	{FoundNewBoot, "registers with a new epoch and reports its machines as off", "a boot ends every process; the conductor decides by on_host_boot"},
	{FoundFresh, "registers with a new epoch", "fences and tombstones are lost, so commands of the old epoch must be refused (P1)"},
}

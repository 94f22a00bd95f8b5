package layers_test

// module is the path of the module; paths in the table are relative to it.
const module = "leasehold"

// layer is what one package, with the folders below it, may import. The longest path that fits a package is its own.
type layer struct {
	path   string
	row    int
	arrows []string // of its own row, or what a never took from everybody else
	never  []string // not even through others; a path of ours, or of another module
	etcd   bool     // may import go.etcd.io
	pure   bool     // does no I/O
	why    string
}

// store is what nobody may reach who must work without credentials for etcd, or without one.
var store = []string{"coord", "liveness", "locks", etcd}

const etcd = "go.etcd.io"

// upper is what a client of the API has no business with.
var upper = append([]string{"workflow", "scheduler", "tasks", "drivers"}, store...)

var layers = []layer{
	{path: "vm", row: 0, pure: true, never: store, why: "vm is the words; it imports nothing of Leasehold"},
	{path: "api", row: 1, never: store, why: "the wire is generated and knows only itself and the words"},
	{path: "fsm", row: 1, pure: true, never: store, why: "fsm is the rules; it knows the words only"},
	{
		path: "internal", row: 1, arrows: []string{"api", "fsm"}, etcd: true,
		why: "internal is plumbing without domain; it knows words, rules and wire",
	},
	{
		path: "workflow", row: 2, never: append([]string{"vm", "fsm", "api"}, store...),
		why: "the engine knows no machine and no store, so it can run any flow in memory",
	},
	{
		path: "scheduler", row: 2, pure: true, never: append([]string{"api", "internal"}, store...),
		why: "placement is a function of records; it knows words and rules only",
	},
	{path: "coord", row: 2, etcd: true, why: "coord is the records; who acts and who lives are above it"},
	{
		path: "liveness", row: 2, arrows: []string{"coord"}, etcd: true,
		why: "liveness is who lives; of its row it knows coord only",
	},
	{
		path: "locks", row: 2, arrows: []string{"liveness", "coord"}, etcd: true,
		why: "locks is who acts; of its row it knows liveness and coord only",
	},
	{path: "tasks", row: 3, why: "a flow calls agents over the wire; it knows neither drivers nor what is above it"},
	{path: "drivers", row: 3, never: store, why: "the seam knows no hypervisor, no store and no task"},
	{
		path: "drivers/sim", row: 3, arrows: []string{"drivers"}, never: store,
		why: "a driver knows the seam, no other hypervisor, no store and no task",
	},
	{
		path: "drivers/qemu", row: 3, arrows: []string{"drivers"}, never: store,
		why: "a driver knows the seam, no other hypervisor, no store and no task",
	},
	{path: "conductor", row: 4, why: "conductors and agents meet on the wire only; the console is wired in cmd"},
	{
		path: "agent", row: 4, never: append([]string{"tasks"}, store...),
		why: "an agent has no credentials for the store; conductors and agents meet on the wire only",
	},
	{path: "console", row: 4, never: upper, why: "the console is a client of the API like any other"},
	{path: "cmd/conductor", row: 5, etcd: true, why: "nothing imports a command, or the test of the whole"},
	{
		path: "cmd/compute", row: 5, never: append([]string{"conductor", "console", "tasks"}, store...),
		why: "the agent's binary holds nothing of the store and nothing of the conductor",
	},
	{
		path: "cmd/vmctl", row: 5, never: append([]string{"conductor", "agent", "console"}, upper...),
		why: "vmctl is a client of the API like any other",
	},
	{path: "internal/fsmdoc", row: 5, etcd: true, why: "a program of the build; it prints what it imports"},
	{path: "internal/demo", row: 5, etcd: true, why: "a program of the build; it shows what it imports"},
	{path: "deploy", row: 5, why: "files for operators; the test beside them starts what they say"},
	{path: "internal/mutants", row: 5, etcd: true, why: "a program of the build; it breaks what it imports"},
	{path: "integration", row: 6, etcd: true, why: "the test of the whole wires everything and is imported by nobody"},
}

// effects lists what a pure package does not import, with everything below it.
var effects = []string{
	"os", "net/http", "syscall", "golang.org/x/sys", "google.golang.org/grpc", "github.com/hashicorp/go-hclog",
}

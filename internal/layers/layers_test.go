package layers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryPackageKeepsItsLayer(t *testing.T) {
	packages := list(t)
	require.NotEmpty(t, packages)
	for _, p := range packages {
		for _, sentence := range judge(p) {
			t.Error(sentence)
		}
	}
}

func TestEveryLayerHasAReason(t *testing.T) {
	for _, l := range layers {
		require.NotEmpty(t, l.why, l.path)
	}
}

// TestJudgeRefusesWhatTheRulesForbid breaks each rule on purpose: a judge that never refuses proves nothing.
func TestJudgeRefusesWhatTheRulesForbid(t *testing.T) {
	for name, tt := range map[string]struct {
		pkg   pkg
		legal bool
	}{
		"a lower row":                 {pkg{ImportPath: "leasehold/fsm", Imports: []string{"leasehold/vm"}}, true},
		"along an arrow":              {pkg{ImportPath: "leasehold/locks", Imports: []string{"leasehold/coord"}}, true},
		"its own family":              {pkg{ImportPath: "leasehold/agent/journal", Imports: []string{"leasehold/agent"}}, true},
		"a driver and the seam":       {pkg{ImportPath: "leasehold/drivers/sim", Imports: []string{"leasehold/drivers"}}, true},
		"etcd in coord":               {pkg{ImportPath: "leasehold/coord", Imports: []string{"go.etcd.io/etcd/client/v3"}}, true},
		"a helper in a test":          {pkg{ImportPath: "leasehold/locks", XTestImports: []string{"leasehold/coord/coordtest"}}, true},
		"a helper of a helper":        {pkg{ImportPath: "leasehold/locks/lockstest", Imports: []string{"leasehold/coord/coordtest"}}, true},
		"net/netip in words":          {pkg{ImportPath: "leasehold/vm", Imports: []string{"net/netip"}}, true},
		"the library's internals":     {pkg{ImportPath: "leasehold/scheduler", Deps: []string{"internal/abi"}}, true},
		"plumbing under placement":    {pkg{ImportPath: "leasehold/scheduler", Deps: []string{"leasehold/internal/rpc"}}, false},
		"a higher row":                {pkg{ImportPath: "leasehold/fsm", Imports: []string{"leasehold/coord"}}, false},
		"against an arrow":            {pkg{ImportPath: "leasehold/coord", Imports: []string{"leasehold/locks"}}, false},
		"its own row":                 {pkg{ImportPath: "leasehold/conductor", Imports: []string{"leasehold/agent"}}, false},
		"the seam and a driver":       {pkg{ImportPath: "leasehold/drivers", Imports: []string{"leasehold/drivers/sim"}}, false},
		"one driver and another":      {pkg{ImportPath: "leasehold/drivers/sim", Imports: []string{"leasehold/drivers/qemu"}}, false},
		"words and plumbing":          {pkg{ImportPath: "leasehold/vm", Imports: []string{"leasehold/internal/version"}}, false},
		"a machine in the engine":     {pkg{ImportPath: "leasehold/workflow", Imports: []string{"leasehold/vm"}}, false},
		"a machine through plumbing":  {pkg{ImportPath: "leasehold/workflow", Deps: []string{"leasehold/vm"}}, false},
		"records in an agent":         {pkg{ImportPath: "leasehold/agent", Imports: []string{"leasehold/coord"}}, false},
		"etcd in an agent's binary":   {pkg{ImportPath: "leasehold/cmd/compute", Deps: []string{"go.etcd.io/etcd/client/v3"}}, false},
		"etcd in a test of admission": {pkg{ImportPath: "leasehold/conductor", XTestImports: []string{"go.etcd.io/etcd/client/v3"}}, false},
		"files in a rule":             {pkg{ImportPath: "leasehold/fsm", Imports: []string{"os/exec"}}, false},
		"the network in placement":    {pkg{ImportPath: "leasehold/scheduler", Imports: []string{"net"}}, false},
		"a helper in a binary":        {pkg{ImportPath: "leasehold/locks", Imports: []string{"leasehold/coord/coordtest"}}, false},
		"a command":                   {pkg{ImportPath: "leasehold/conductor", Imports: []string{"leasehold/cmd/vmctl"}}, false},
		"the test of the whole":       {pkg{ImportPath: "leasehold/cmd/conductor", Imports: []string{"leasehold/integration"}}, false},
		"a package in no layer":       {pkg{ImportPath: "leasehold/helpers"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.legal, judge(tt.pkg) == nil, judge(tt.pkg))
		})
	}
}

// list asks the go command for all packages of the module, those behind the tags of the slow tiers and those that do not
// compile included.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", "integration,mutants,soak",
		"-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var all []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

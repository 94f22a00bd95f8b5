package coord_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/vm"
)

func TestKeysRoundTrip(t *testing.T) {
	k, err := coord.NewKeys("/leasehold")
	require.NoError(t, err)
	disk := vm.Resource{Kind: vm.KindVolume, ID: "v1"}
	for key, want := range map[string]struct {
		table coord.Table
		rest  string
	}{
		k.Instance("i1"):       {coord.Instances, "i1"},
		k.Observed("i1"):       {coord.ObservedT, "i1"},
		k.Volume("v1"):         {coord.Volumes, "v1"},
		k.Port("p1"):           {coord.Ports, "p1"},
		k.Image("m1"):          {coord.Images, "m1"},
		k.Flavor("tiny"):       {coord.Flavors, "tiny"},
		k.Project("default"):   {coord.Projects, "default"},
		k.Host("h1"):           {coord.Hosts, "h1"},
		k.Allocations("h1"):    {coord.Allocations, "h1"},
		k.Task("t1"):           {coord.Tasks, "t1"},
		k.Cancel("t1"):         {coord.Cancels, "t1"},
		k.Claim("t1"):          {coord.Claims, "t1"},
		k.Store():              {coord.StoreT, ""},
		k.Lock(disk):           {coord.Locks, "volume/v1"},
		k.Ticket(disk, "t1"):   {coord.Queue, "volume/v1/t1"},
		k.AliveConductor("c1"): {coord.Alive, "conductor/c1"},
		k.AliveCompute("h1"):   {coord.Alive, "compute/h1"},
		k.Name(vm.KindInstance, "default", "web"): {coord.Names, "instance/default/web"},
		k.Record(disk): {coord.Volumes, "v1"},
		k.Record(vm.Resource{Kind: vm.KindInstance, ID: "i1"}): {coord.Instances, "i1"},
	} {
		table, rest, ok := k.Split(key)
		require.True(t, ok, key)
		require.Equal(t, want.table, table, key)
		require.Equal(t, want.rest, rest, key)
		require.True(t, strings.HasPrefix(key, k.Root()), key)
	}
	require.Equal(t, "/leasehold/locks/volume/v1", k.Lock(disk))
	require.Equal(t, "/leasehold/store", k.Store())

	r, more := coord.SplitResource("volume/v1/t1")
	require.Equal(t, disk, r)
	require.Equal(t, "t1", more)
	r, more = coord.SplitResource("volume/v1")
	require.Equal(t, disk, r)
	require.Empty(t, more)
}

func TestLogLiesOutsideTheWatch(t *testing.T) {
	k, err := coord.NewKeys("/leasehold")
	require.NoError(t, err)
	r := vm.Resource{Kind: vm.KindInstance, ID: "i1"}
	for _, key := range []string{k.History("t1"), k.Index(r, "t1"), k.Request("default", "k"), k.Gone("i1")} {
		require.True(t, strings.HasPrefix(key, k.LogRoot()), key)
		_, _, ok := k.Split(key)
		require.False(t, ok, key)
	}
	_, _, ok := k.Split("/leaseholder/instances/i1")
	require.False(t, ok)
}

func TestPrefixMustBeginWithASlashAndNotEndWithOne(t *testing.T) {
	for _, prefix := range []string{"", "/", "leasehold", "/leasehold/"} {
		_, err := coord.NewKeys(prefix)
		require.Error(t, err, "%q", prefix)
	}
}

// C3: outside coord/keys.go no string literal of the program looks like part of a key.
func TestOnlyKeysBuildsKeys(t *testing.T) {
	var tables []string
	for _, table := range []coord.Table{
		coord.Instances, coord.ObservedT, coord.Volumes, coord.Ports, coord.Networks, coord.Images, coord.Flavors,
		coord.Hosts, coord.Allocations, coord.Tasks, coord.Cancels, coord.Queue, coord.StoreT, coord.Claims, coord.Locks,
		coord.Alive, coord.Names, coord.Projects,
	} {
		tables = append(tables, string(table)+"/")
	}
	for _, dir := range []string{"coord", "liveness", "locks", "conductor", "tasks"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				if d == nil { // a package that is not there has no literals
					return fs.SkipDir
				}
				return err
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == filepath.Join("..", "coord", "keys.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				for _, table := range tables {
					require.False(t, strings.HasPrefix(strings.Trim(lit.Value, "\"`/"), table), "%s builds a key: %s", path, lit.Value)
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
}

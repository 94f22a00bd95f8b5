package sim_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/drivers"
	"leasehold/drivers/drivertest"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriverKeepsTheRules(t *testing.T) {
	for name, fsync := range map[string]bool{"page cache": false, "synced": true} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{
				New: func(t *testing.T, dir string) drivers.Driver {
					t.Helper()
					d, err := sim.New(sim.Config{Dir: dir, Fsync: fsync})
					require.NoError(t, err)
					return d
				},
				Spec:  func(*testing.T) drivers.Spec { return spec(nil) },
				Ready: func(*testing.T, drivers.Driver, vm.InstanceID) {},
				GuestShutdown: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).GuestShutdown(id))
				},
				GuestCrash: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).GuestCrash(id))
				},
				Hang: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).Hang(id, "pause"))
				},
				Litter: func(t *testing.T, dir string) vm.InstanceID {
					t.Helper()
					require.NoError(t, os.WriteFile(filepath.Join(dir, "machines", "m1.json"), []byte("{"), 0o644))
					return "m1"
				},
				Console: &drivertest.Console{Banner: "SIM-READY ", Send: "marco\n", Reply: "marco\n"},
			})
		})
	}
}

// open closes the driver when the test ends; a second Close changes nothing.
func open(t *testing.T, cfg sim.Config) *sim.Driver {
	t.Helper()
	d, err := sim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func spec(metadata map[string]string) drivers.Spec {
	id := vm.InstanceID(uuid.Must(uuid.NewV7()).String())
	return drivers.Spec{
		ID: id, Name: "vm-" + string(id[len(id)-6:]), Size: vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1},
		Image: drivers.Image{Name: "default", URL: "builtin:default", Format: "raw"}, Metadata: metadata,
	}
}

func quiet(vm.Progress) {}

func power(t *testing.T, d *sim.Driver, id vm.InstanceID) vm.PowerState {
	t.Helper()
	m, err := d.Inspect(t.Context(), id)
	require.NoError(t, err)
	return m.PowerState
}

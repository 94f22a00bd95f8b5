package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const service = `syntax = "proto3";
package leasehold.conductor.v1;
import "google/api/annotations.proto";
option go_package = "leasehold/api/conductor/v1;conductorv1";
// Conductor answers.
service Conductor {
  rpc Get(Thing) returns (Thing) { option (google.api.http) = { get: "/v1/things/{thing_id}" }; }
}
// Thing is asked for.
message Thing {
  // thing_id names it.
  string thing_id = 1;
}
`

func TestRunGeneratesThenFindsEverythingCurrent(t *testing.T) {
	root := repository(t, service)
	require.NoError(t, run(t.Context(), root, false))
	require.NoError(t, run(t.Context(), root, true))

	code := read(t, root, "api/conductor/v1/thing.pb.go")
	require.Contains(t, code, "package conductorv1")
	require.Contains(t, code, "// thing_id names it.", "comments survive")
	require.Contains(t, read(t, root, "api/conductor/v1/thing_grpc.pb.go"), "type ConductorServer interface")
	require.Contains(t, read(t, root, "api/conductor/v1/thing.pb.gw.go"), "RegisterConductorHandler")
	require.Contains(t, read(t, root, "api/conductor/v1/openapi.json"), `"/v1/things/{thing_id}"`, "names stay snake_case")
}

func TestCheckNamesWhatIsNotCurrentAndWritesNothing(t *testing.T) {
	root := repository(t, service)
	require.NoError(t, run(t.Context(), root, false))
	changed := filepath.Join(root, "api/conductor/v1/thing.pb.go")
	require.NoError(t, os.WriteFile(changed, []byte("package conductorv1\n"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(root, "api/conductor/v1/openapi.json")))

	err := run(t.Context(), root, true)
	require.ErrorContains(t, err, "make generate: api/conductor/v1/openapi.json, api/conductor/v1/thing.pb.go")
	require.Equal(t, "package conductorv1\n", read(t, root, "api/conductor/v1/thing.pb.go"))
}

func TestRunRemovesWhatNoProtoMakesAnyMore(t *testing.T) {
	root := repository(t, service)
	old := filepath.Join(root, "api/conductor/v1/old.pb.go")
	require.NoError(t, os.WriteFile(old, nil, 0o644))
	require.ErrorContains(t, run(t.Context(), root, true), "old.pb.go")
	require.NoError(t, run(t.Context(), root, false))
	require.NoFileExists(t, old)
}

func TestRunLeavesTheTreeAsItWasWhenAProtoDoesNotCompile(t *testing.T) {
	root := repository(t, "syntax = \"proto3\";\nimport \"google/unknown.proto\";\n")
	require.ErrorContains(t, run(t.Context(), root, false), "google/unknown.proto")
	left, err := filepath.Glob(filepath.Join(root, "api/conductor/v1/*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestRunRefusesARepositoryWithoutProtos(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), t.TempDir(), false), "cannot find any proto")
}

// repository is a folder that holds nothing but one proto of the conductor.
func repository(t *testing.T, proto string) string {
	t.Helper()
	root := t.TempDir()
	folder := filepath.Join(root, "api", "conductor", "v1")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "thing.proto"), []byte(proto), 0o644))
	return root
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(content)
}

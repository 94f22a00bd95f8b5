package version_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/version"
)

func TestVersionIsNeverEmpty(t *testing.T) {
	require.NotEmpty(t, version.Version())
}

func TestDescribeTakesTheBestThatIsKnown(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for name, tt := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"nothing":         {debug.BuildInfo{}, "dev"},
		"a bare checkout": {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "dev"},
		"a tag":           {debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{revision}}, "v1.2.3"},
		"a commit":        {debug.BuildInfo{Settings: []debug.BuildSetting{revision}}, "0123456789ab"},
		"a short commit":  {debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123"}}}, "0123"},
		"a commit with changes": {
			debug.BuildInfo{Settings: []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "true"}}},
			"0123456789ab+dirty",
		},
		"a clean commit": {
			debug.BuildInfo{Settings: []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}},
			"0123456789ab",
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, version.Describe(&tt.info))
		})
	}
}

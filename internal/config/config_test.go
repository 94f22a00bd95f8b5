package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"leasehold/internal/config"
)

// settings is a command's flags, one of each type that is in use.
type settings struct {
	flags   *pflag.FlagSet
	name    string
	ttl     time.Duration
	max     int
	etcd    []string
	latency map[string]string
	json    bool
}

func newSettings() *settings {
	s := &settings{flags: pflag.NewFlagSet("serve", pflag.ContinueOnError)}
	s.flags.StringVar(&s.name, "name", "c0", "")
	s.flags.DurationVar(&s.ttl, "session-ttl", 10*time.Second, "")
	s.flags.IntVar(&s.max, "max-tasks", 2000, "")
	s.flags.StringSliceVar(&s.etcd, "etcd", []string{"a"}, "")
	s.flags.StringToStringVar(&s.latency, "sim-latency", nil, "")
	s.flags.BoolVar(&s.json, "log-json", false, "")
	s.flags.String("config", "", "")
	return s
}

// complete completes settings from a command line, an environment and the text of a file, "" for none.
func complete(t *testing.T, args []string, env map[string]string, file string) (*settings, error) {
	t.Helper()
	s := newSettings()
	if file != "" {
		path := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	require.NoError(t, s.flags.Parse(args))
	return s, config.Complete(s.flags, func(name string) string { return env[name] })
}

func TestFlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	env := map[string]string{"LEASEHOLD_NAME": "of-env", "LEASEHOLD_MAX_TASKS": "7"}
	file := "name: of-file\nmax-tasks: 8\nsession-ttl: 5s\n"
	s, err := complete(t, []string{"--name", "of-flag"}, env, file)
	require.NoError(t, err)
	require.Equal(t, "of-flag", s.name)
	require.Equal(t, 7, s.max)
	require.Equal(t, 5*time.Second, s.ttl)
	require.Equal(t, []string{"a"}, s.etcd)
}

func TestEveryTypeMayStandInTheFile(t *testing.T) {
	s, err := complete(t, nil, nil,
		"etcd: [http://a:1, http://b:2]\nsim-latency: {spawn: 2s, stop: 1s}\nlog-json: true\nmax-tasks: 1000000\n")
	require.NoError(t, err)
	require.Equal(t, []string{"http://a:1", "http://b:2"}, s.etcd)
	require.Equal(t, map[string]string{"spawn": "2s", "stop": "1s"}, s.latency)
	require.True(t, s.json)
	require.Equal(t, 1000000, s.max)
}

func TestListsAndMapsInTheEnvironmentAreThoseOfTheFlags(t *testing.T) {
	s, err := complete(t, nil, map[string]string{"LEASEHOLD_ETCD": "x,y", "LEASEHOLD_SIM_LATENCY": "spawn=2s,stop=1s"}, "")
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y"}, s.etcd)
	require.Len(t, s.latency, 2)
}

func TestTheEnvironmentMayNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("name: of-file\n"), 0o600))
	s, err := complete(t, nil, map[string]string{"LEASEHOLD_CONFIG": path}, "")
	require.NoError(t, err)
	require.Equal(t, "of-file", s.name)
}

func TestWhatCannotBeTakenIsRefusedWithItsOrigin(t *testing.T) {
	for name, tt := range map[string]struct {
		env   map[string]string
		file  string
		wants []string
	}{
		"a key that is no flag":    {file: "nam: x\n", wants: []string{"nam", "c.yaml", "no such setting"}},
		"the file naming a file":   {file: "config: other\n", wants: []string{"config", "no such setting"}},
		"a key twice":              {file: "name: x\nname: y\n", wants: []string{"c.yaml", "name"}},
		"a key without a value":    {file: "name:\n", wants: []string{"name", "c.yaml", "no value"}},
		"a value of another type":  {file: "session-ttl: ten\n", wants: []string{"session-ttl", "c.yaml"}},
		"a list of files":          {file: "- name\n", wants: []string{"c.yaml"}},
		"a bad value in the env":   {env: map[string]string{"LEASEHOLD_MAX_TASKS": "many"}, wants: []string{"LEASEHOLD_MAX_TASKS"}},
		"a file that is not there": {env: map[string]string{"LEASEHOLD_CONFIG": "/nowhere/c.yaml"}, wants: []string{"/nowhere/c.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := complete(t, nil, tt.env, tt.file)
			require.Error(t, err)
			for _, want := range tt.wants {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestChildrenInheritNoSettings(t *testing.T) {
	require.Equal(t, []string{"PATH=/bin", "HOME=/"},
		config.Environ([]string{"PATH=/bin", "LEASEHOLD_NAME=c1", "HOME=/"}))
}

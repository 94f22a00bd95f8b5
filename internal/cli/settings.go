package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"leasehold/internal/cli/output"
)

// envPrefix stands before the name of a setting in the environment: LEASEHOLD_SERVER.
const envPrefix = "LEASEHOLD_"

// settings are the global flags. Each has the same name as a flag, in the environment and in the file; the first of
// these three that has it wins.
type settings struct {
	servers []string
	project string
	format  output.Format
	timeout time.Duration
	config  string
}

func (s *settings) flags(f *pflag.FlagSet) {
	s.format = output.Table
	f.StringSliceVar(&s.servers, "server", []string{"127.0.0.1:7001"},
		"conductors to ask, host:port separated by commas; the next one is asked when one is away")
	f.StringVarP(&s.project, "project", "p", "", "project to work in (the server's default project when empty)")
	f.VarP(&s.format, "output", "o", "table, wide, json or yaml")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long one question to the conductors may take")
	f.StringVar(&s.config, "config", "", "configuration file (default: leasehold/vmctl.yaml in the user's configuration folder)")
}

// file is the configuration file. server is a list, or a text like that of the flag.
type file struct {
	Server  texts  `json:"server"`
	Project string `json:"project"`
	Output  string `json:"output"`
	Timeout string `json:"timeout"`
}

type texts []string

// UnmarshalJSON takes a list or one text.
func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return errors.New("server is neither a text nor a list of texts")
	}
	*t = many
	return nil
}

// complete takes what the flags leave open from the environment, then from the file.
func (s *settings) complete(flags *pflag.FlagSet, env Env) error {
	path, required := s.config, true
	if path == "" {
		path = env.Getenv(envPrefix + "CONFIG")
	}
	if path == "" {
		path, required = env.Config, false
	}
	fromFile, err := read(path, required)
	if err != nil {
		return err
	}
	for name, inFile := range map[string]string{
		"server":  strings.Join(fromFile.Server, ","),
		"project": fromFile.Project,
		"output":  fromFile.Output,
		"timeout": fromFile.Timeout,
	} {
		flag := flags.Lookup(name)
		variable := envPrefix + strings.ToUpper(name)
		value, origin := env.Getenv(variable), variable
		if value == "" {
			value, origin = inFile, path
		}
		if flag.Changed || value == "" {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return usagef("cannot take %s from %s: %v", name, origin, err)
		}
	}
	if s.timeout <= 0 {
		return usagef("cannot work with a timeout of %s", s.timeout)
	}
	return nil
}

func read(path string, required bool) (file, error) {
	var f file
	if path == "" {
		return f, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return f, nil
	}
	if err != nil {
		return f, &usageError{fmt.Errorf("cannot read the configuration: %w", err)}
	}
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return f, usagef("cannot understand %s: %v", path, err)
	}
	return f, nil
}

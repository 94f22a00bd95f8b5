package daemon

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"leasehold/internal/config"
)

// Log is how a program logs.
type Log struct {
	level string
	json  bool
}

// Flags adds the flags of logging, and the one that names the configuration file, which every program has as well.
func (l *Log) Flags(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "trace, debug, info, warn, error or off")
	f.BoolVar(&l.json, "log-json", false, "log JSON, one object a line")
	f.String(config.File, "", "YAML file with settings, under the names of these flags")
}

// Args are the flags that make another program log alike.
func (l *Log) Args() []string {
	return []string{"--log-level", l.level, fmt.Sprintf("--log-json=%t", l.json)}
}

// New makes the logger; out is standard error outside tests. Times are UTC.
func (l *Log) New(name string, out io.Writer) (hclog.Logger, error) {
	level := hclog.LevelFromString(l.level)
	if level == hclog.NoLevel {
		return nil, Usagef("cannot log at level %q: it is trace, debug, info, warn, error or off", l.level)
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: name, Level: level, JSONFormat: l.json, Output: out,
		TimeFormat: "2006-01-02T15:04:05.000Z", TimeFn: func() time.Time { return time.Now().UTC() },
	}), nil
}

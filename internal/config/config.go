package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// File is the flag that names the file. A command that has it may be configured by one.
const File = "config"

const prefix = "LEASEHOLD_"

// Variable is the flag's name in the environment.
func Variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Environ is what a child process shall inherit of env: all but our own settings, which were meant for its parent.
func Environ(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, prefix) })
}

// Complete sets every flag that was not given on the command line and that the environment or the file has. A flag set
// here counts as given, so required flags may come from anywhere. An error names the origin of the value. A key of the
// file that is no flag is refused: a setting with a typing error would be a default in disguise.
func Complete(flags *pflag.FlagSet, getenv func(string) string) error {
	origin, values, err := load(flags, getenv)
	if err != nil {
		return err
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == File || failed != nil {
			return
		}
		if v := getenv(Variable(f.Name)); v != "" {
			failed = from(Variable(f.Name), f.Name, flags.Set(f.Name, v))
		} else if v, ok := values[f.Name]; ok {
			failed = from(origin, f.Name, set(flags, f, v))
		}
	})
	return failed
}

func from(origin, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot take %s from %s: %w", name, origin, err)
}

// load reads the file, when there is to be one, and refuses keys that are no flags.
func load(flags *pflag.FlagSet, getenv func(string) string) (string, map[string]any, error) {
	f := flags.Lookup(File)
	if f == nil {
		return "", nil, nil
	}
	path := f.Value.String()
	if path == "" {
		path = getenv(Variable(File))
	}
	if path == "" {
		return "", nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	values, err := parse(text)
	if err != nil {
		return "", nil, fmt.Errorf("cannot understand %s: %w", path, err)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if known := flags.Lookup(key); known == nil || key == File || key == "help" {
			return "", nil, fmt.Errorf("cannot take %s from %s: there is no such setting", key, path)
		}
	}
	return path, values, nil
}

// parse keeps numbers as they were written, and refuses a key that stands there twice.
func parse(text []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.UseNumber()
	return values, decoder.Decode(&values)
}

// set gives a flag a scalar, a list (for flags that may be repeated) or a map (for those of the form key=value).
func set(flags *pflag.FlagSet, f *pflag.Flag, value any) error {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if err := set(flags, f, item); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := flags.Set(f.Name, fmt.Sprintf("%s=%v", key, v[key])); err != nil {
				return err
			}
		}
		return nil
	case nil:
		return fmt.Errorf("it has no value")
	default:
		return flags.Set(f.Name, fmt.Sprint(v))
	}
}

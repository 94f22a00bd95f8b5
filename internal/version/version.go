package version

import "runtime/debug"

// stamped is set by the linker: make build passes what git describe says.
var stamped string

// Version is the version the build was stamped with; else the one the go command knows: a tag for an installed module,
// the commit, shortened, for a checkout ("+dirty" with changes). Without any of them it is "dev".
func Version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return describe(info)
}

func describe(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var commit, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if commit == "" {
		return "dev"
	}
	return commit + dirty
}

package conductor

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"leasehold/vm"
)

const (
	maxName          = 63
	maxRequestKey    = 128
	maxMetadata      = 64
	maxMetadataKey   = 255
	maxMetadataValue = 4096
)

// validName says whether s can be the name of anything: letters, digits, dot, dash and underscore, beginning with a letter
// or a digit, at most 63.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case i > 0 && (b == '.' || b == '-' || b == '_'):
		default:
			return false
		}
	}
	return true
}

// checkName refuses what cannot be the name of a record. What has the form of an id is refused too: nobody could tell
// which of the two is meant.
func checkName(kind vm.Kind, name string) error {
	if !validName(name) {
		return vm.Refuse(vm.ReasonInvalidArgument,
			"cannot name a %s %s: a name is letters, digits, dot, dash and underscore, begins with a letter or digit, and has at most %d of them",
			kind, shown(name), maxName)
	}
	if isID(name) {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot name a %s %q: it has the form of an id", kind, name)
	}
	return nil
}

// checkKey refuses what cannot be an idempotency key: printable ASCII, at most 128.
func checkKey(key string) error {
	printable := !slices.ContainsFunc([]byte(key), func(b byte) bool { return b < ' ' || b > '~' })
	if len(key) > maxRequestKey || !printable {
		return vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use the idempotency key %s: it may have at most %d printable ASCII characters", shown(key), maxRequestKey)
	}
	return nil
}

func checkProject(name string) error {
	if !validName(name) {
		return vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use the project %s: a name is letters, digits, dot, dash and underscore, at most %d", shown(name), maxName)
	}
	return nil
}

// checkMetadata refuses metadata that a record does not take.
func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot keep %d entries of metadata: an instance has at most %d", len(m), maxMetadata)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key == "" || len(key) > maxMetadataKey {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot keep the metadata key %s: it must have 1 to %d bytes", shown(key), maxMetadataKey)
		}
		if len(m[key]) > maxMetadataValue {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot keep the metadata %s: its value has %d bytes, and at most %d are kept",
				shown(key), len(m[key]), maxMetadataValue)
		}
	}
	return nil
}

// shown quotes what a user typed, without repeating a page of it back.
func shown(s string) string {
	const enough = 80
	if len(s) <= enough {
		return fmt.Sprintf("%q", s)
	}
	cut := enough
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q...", s[:cut])
}

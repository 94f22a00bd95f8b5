package linuxguest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// module is a kernel module.
type module struct {
	name    string
	content []byte
}

// canonical is a module's name as it is compared: - and _ are the same.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// order returns the wanted modules and all that they depend on, each behind what it needs: a module that is loaded too
// early is refused for an unknown symbol.
func order(all map[string][]byte, wanted []string) ([]module, error) {
	var ordered []module
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = canonical(name)
		if seen[name] {
			return nil
		}
		seen[name] = true
		content, ok := all[name]
		if !ok {
			return fmt.Errorf("cannot find the module %s in the kernel's package", name)
		}
		needs, err := depends(content)
		if err != nil {
			return fmt.Errorf("cannot read the module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		ordered = append(ordered, module{name, content})
		return nil
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// depends reads what a module says of itself: "depends=a,b" among the strings of its section .modinfo.
func depends(content []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for text := range strings.SplitSeq(string(info), "\x00") {
		if names, ok := strings.CutPrefix(text, "depends="); ok && names != "" {
			return strings.Split(names, ","), nil
		}
	}
	return nil, nil
}

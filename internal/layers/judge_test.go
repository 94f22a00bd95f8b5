package layers_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// pkg is a package as "go list -json" prints it. Deps holds what it reaches through others too, tests left out.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// judge returns what is illegal about p, one sentence each; nil when it keeps all rules.
func judge(p pkg) []string {
	own, ok := layerOf(p.ImportPath)
	if !ok {
		return []string{p.ImportPath + " stands in no layer; give it a row and a reason in the table of internal/layers"}
	}
	var bad []string
	refuse := func(format string, args ...any) {
		bad = append(bad, fmt.Sprintf("%s %s: %s", p.ImportPath, fmt.Sprintf(format, args...), own.why))
	}
	for _, imported := range p.Imports {
		target, ours := layerOf(imported)
		if ours && !own.mayImport(target) {
			refuse("imports %s", imported)
		}
		if ours && isHelper(imported) && !isHelper(p.ImportPath) && own.path != "integration" {
			refuse("imports the test helper %s outside a test", imported)
		}
		if own.pure && (imported == "net" || below(imported, effects)) {
			refuse("imports %s, which does I/O", imported)
		}
	}
	for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
		if within(imported, etcd) && !own.etcd {
			refuse("imports %s, which only coord, liveness and locks do", imported)
		}
	}
	for _, never := range own.never {
		in := func(importPath string) bool { return within(importPath, importPathOf(never)) }
		if i := slices.IndexFunc(p.Deps, in); i >= 0 && !slices.ContainsFunc(p.Imports, in) {
			refuse("reaches %s through what it imports", p.Deps[i])
		}
	}
	return bad
}

// mayImport says whether a package of layer l may name one of layer target in an import.
func (l layer) mayImport(target layer) bool {
	if l.path == target.path || slices.Contains(l.arrows, target.path) {
		return true
	}
	return target.row < l.row && !below(target.path, l.never)
}

// layerOf finds the layer of an import path; false when it is not of this module, or in no layer.
func layerOf(importPath string) (layer, bool) {
	rel, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return layer{}, false
	}
	var best layer
	for _, l := range layers {
		if within(rel, l.path) && len(l.path) > len(best.path) {
			best = l
		}
	}
	return best, best.path != ""
}

// importPathOf is the import path of what never names: only paths of other modules begin with a domain.
func importPathOf(never string) string {
	if domain, _, _ := strings.Cut(never, "/"); strings.Contains(domain, ".") {
		return never
	}
	return module + "/" + never
}

func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func below(p string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(p, root) })
}

func isHelper(importPath string) bool { return strings.HasSuffix(path.Base(importPath), "test") }

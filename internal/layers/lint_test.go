package layers_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// lint is the part of .golangci.yml that speaks of imports.
type lint struct {
	Linters struct {
		Settings struct {
			Depguard struct {
				Rules map[string]imports
			}
		}
	}
}

// imports is one of its rules. The longest prefix decides; without any the import is allowed.
type imports struct {
	Files []string
	Allow []string
	Deny  []struct{ Pkg, Desc string }
}

func (i imports) allows(importPath string) bool {
	allow, deny := -1, -1
	for _, prefix := range i.Allow {
		if strings.HasPrefix(importPath, prefix) {
			allow = max(allow, len(prefix))
		}
	}
	for _, d := range i.Deny {
		if strings.HasPrefix(importPath, d.Pkg) {
			deny = max(deny, len(d.Pkg))
		}
	}
	return allow >= deny
}

func TestTheLinterRefusesWhatTheTableRefuses(t *testing.T) {
	rules := lintRules(t)
	for _, l := range layers {
		rule, ok := rules[l.path]
		require.True(t, ok || l.path == "integration", ".golangci.yml has no depguard rule %q", l.path)
		for _, target := range layers {
			if target.row == 5 && target.path != l.path {
				continue // a command cannot be imported: the compiler says so
			}
			require.Equal(t, l.mayImport(target), rule.allows(module+"/"+target.path),
				"%s imports %s: the table says %t, .golangci.yml the opposite", l.path, target.path, l.mayImport(target))
		}
	}
}

func TestTheLinterKeepsEtcdWhereTheTableDoes(t *testing.T) {
	rule, ok := lintRules(t)["etcd"]
	require.True(t, ok)
	require.False(t, rule.allows(etcd))
	excepted := map[string]bool{}
	for _, file := range rule.Files {
		excepted[strings.TrimSuffix(strings.TrimPrefix(file, "!${base-path}/"), "/**")] = true
	}
	for _, l := range layers {
		require.Equal(t, l.etcd, excepted[l.path] || strings.HasPrefix(l.path, "internal/"), l.path)
	}
}

func TestEveryLintRuleHasAReasonAndFiles(t *testing.T) {
	for name, rule := range lintRules(t) {
		for _, d := range rule.Deny {
			require.NotEmpty(t, d.Desc, "%s: %s", name, d.Pkg)
		}
		if layer, ok := layerOf(module + "/" + name); ok && layer.path == name {
			require.True(t, strings.HasPrefix(rule.Files[0], "${base-path}/"+name+"/"), name)
		}
	}
}

func lintRules(t *testing.T) map[string]imports {
	t.Helper()
	content, err := os.ReadFile("../../.golangci.yml")
	require.NoError(t, err)
	var config lint
	require.NoError(t, yaml.Unmarshal(content, &config))
	require.NotEmpty(t, config.Linters.Settings.Depguard.Rules)
	return config.Linters.Settings.Depguard.Rules
}

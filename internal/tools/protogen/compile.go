package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// find returns the protos of the repository as import paths, sorted.
func find(root string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, "api", "*", "v*", "*.proto"))
	if err != nil {
		return nil, fmt.Errorf("cannot look for protos: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("cannot find any proto in %s", filepath.Join(root, "api"))
	}
	for i, f := range found {
		rel, err := filepath.Rel(root, f)
		if err != nil {
			return nil, fmt.Errorf("cannot name %s: %w", f, err)
		}
		found[i] = filepath.ToSlash(rel)
	}
	slices.Sort(found)
	return found, nil
}

// compile returns the descriptors of protos and of all they import, each after its own imports, with the comments of
// our files: they become the doc comments of the generated code.
func compile(ctx context.Context, root string, protos []string) ([]*descriptorpb.FileDescriptorProto, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{root}},
			protocompile.ResolverFunc(linked),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, protos...)
	if err != nil {
		return nil, fmt.Errorf("cannot compile: %w", err)
	}
	var out []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		if own := compiled.FindFileByPath(fd.Path()); own != nil {
			fd = own
		}
		if result, ok := fd.(linker.Result); ok {
			out = append(out, result.FileDescriptorProto())
			return
		}
		imported := protodesc.ToFileDescriptorProto(fd)
		imported.SourceCodeInfo = &descriptorpb.SourceCodeInfo{} // it has no comments; the OpenAPI plugin complains of nil
		out = append(out, imported)
	}
	for _, f := range compiled {
		add(f)
	}
	return out, nil
}

// linked answers an import with the descriptor linked into this program.
func linked(path string) (protocompile.SearchResult, error) {
	fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return protocompile.SearchResult{}, fmt.Errorf("%w: add its Go package to the imports of protogen", err)
	}
	return protocompile.SearchResult{Desc: fd}, nil
}

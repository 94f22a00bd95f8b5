package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugin is one code generator that speaks protoc's protocol on stdin and stdout.
type plugin struct {
	tool    string            // its name among the tools of this module
	options string            // as after --opt
	only    string            // the folder whose protos it gets; all when empty
	renames map[string]string // what it writes, and where that belongs
	numbers bool              // the API writes 64-bit integers as JSON numbers, and its page shall say so
}

// quotedInteger is how OpenAPI declares an int64 in the JSON form of protobuf, which writes it as a string.
var quotedInteger = regexp.MustCompile(`"type": "string",(\s+)"format": "int64"`)

// plugins in the order in which they run. Names of fields in OpenAPI are those of the records: snake_case.
var plugins = []plugin{
	{tool: "protoc-gen-go", options: "module=leasehold"},
	{tool: "protoc-gen-go-grpc", options: "module=leasehold"},
	{tool: "protoc-gen-grpc-gateway", options: "module=leasehold"},
	{
		tool:    "protoc-gen-openapiv2",
		options: "allow_merge=true,merge_file_name=openapi,json_names_for_fields=false",
		only:    "api/conductor/",
		renames: map[string]string{"openapi.swagger.json": "api/conductor/v1/openapi.json"},
		numbers: true,
	},
}

// run adds to made what the plugin generates for those of protos that are its own.
func (p plugin) run(ctx context.Context, files []*descriptorpb.FileDescriptorProto, protos []string, made tree) error {
	own := slices.DeleteFunc(slices.Clone(protos), func(path string) bool { return !strings.HasPrefix(path, p.only) })
	if len(own) == 0 {
		return nil
	}
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: own,
		Parameter:      new(p.options),
		ProtoFile:      files,
	})
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w", p.tool, err)
	}
	var answer bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", p.tool)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &answer, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot run %s: %w", p.tool, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(answer.Bytes(), &response); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", p.tool, err)
	}
	if response.Error != nil {
		return fmt.Errorf("%s refuses: %s", p.tool, response.GetError())
	}
	for _, f := range response.GetFile() {
		name := f.GetName()
		if to, ok := p.renames[name]; ok {
			name = to
		}
		if !strings.HasPrefix(name, "api/") {
			return fmt.Errorf("cannot place %s of %s: it is outside api/; look at the go_package of its proto", name, p.tool)
		}
		content := f.GetContent()
		if p.numbers {
			content = quotedInteger.ReplaceAllString(content, `"type": "integer",$1"format": "int64"`)
		}
		made[name] = []byte(content)
	}
	return nil
}

// Command protogen makes the Go code and the OpenAPI page of the protobuf files under api/. It needs neither protoc nor
// copies of other people's protos: the files are compiled by a library, imports that are not ours come from the
// descriptors linked into this program, and the plugins are tools of this module, so go.sum pins every part.
//
//	go -C internal/tools run ./protogen          writes what is generated, removes what no longer is
//	go -C internal/tools run ./protogen -check   writes nothing; exit code 1 and the names when a file is not current
//
// The result depends on the protos and on go.sum alone, never on the machine.
package main

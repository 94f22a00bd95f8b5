package conductor

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"leasehold/api/conductor/v1"
)

// route is one REST path as the proto declares it.
type route struct {
	method string   // GET
	parts  []string // v1 instances {id}
	verb   string   // stop, of /v1/instances/{id}:stop
	body   bool
	input  protoreflect.MessageDescriptor
	rpc    protoreflect.MethodDescriptor
}

// routes is every path of the API. The gateway only tells that a path did not match; this tells what the path or the
// parameter should have been.
type routes []route

func declaredRoutes() routes {
	var all routes
	services := conductorv1.File_api_conductor_v1_conductor_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			if method, path := pathOf(rule); ok && path != "" {
				path, verb, _ := strings.Cut(path, ":")
				all = append(all, route{
					method: method, parts: strings.Split(strings.Trim(path, "/"), "/"), verb: verb, body: rule.GetBody() != "",
					input: m.Input(), rpc: m,
				})
			}
		}
	}
	return all
}

func pathOf(rule *annotations.HttpRule) (method, path string) {
	for _, p := range [][2]string{
		{"GET", rule.GetGet()},
		{"POST", rule.GetPost()},
		{"PUT", rule.GetPut()},
		{"PATCH", rule.GetPatch()},
		{"DELETE", rule.GetDelete()},
	} {
		if p[1] != "" {
			return p[0], p[1]
		}
	}
	return "", ""
}

// find returns the route of a request with the values of its path. Without one, allow lists the methods that the path
// does have.
func (rs routes) find(method, path string) (found *route, vars map[string]string, allow []string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	last := len(parts) - 1
	var verb string
	if i := strings.LastIndexByte(parts[last], ':'); i >= 0 {
		parts[last], verb = parts[last][:i], parts[last][i+1:]
	}
	for i, r := range rs {
		v, ok := r.match(parts, verb)
		switch {
		case !ok:
		case r.method == method:
			return &rs[i], v, nil
		default:
			allow = append(allow, r.method)
		}
	}
	return nil, nil, allow
}

func (r route) match(parts []string, verb string) (map[string]string, bool) {
	if verb != r.verb || len(parts) != len(r.parts) {
		return nil, false
	}
	var vars map[string]string
	for i, p := range r.parts {
		name, isVar := strings.CutPrefix(p, "{")
		switch {
		case isVar && parts[i] != "":
			if vars == nil {
				vars = map[string]string{}
			}
			vars[strings.TrimSuffix(name, "}")] = parts[i]
		case p != parts[i]:
			return nil, false
		}
	}
	return vars, true
}

// unbuilt are the collections that are named in the contract and not built yet.
var unbuilt = []string{"volumes", "ports", "networks"}

func isUnbuilt(path string) (collection string, ok bool) {
	rest, v1 := strings.CutPrefix(path, "/v1/")
	first, _, _ := strings.Cut(rest, "/")
	first, _, _ = strings.Cut(first, ":")
	return first, v1 && slices.Contains(unbuilt, first)
}

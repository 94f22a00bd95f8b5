// Package conductorv1 is the wire between users and conductors, and between the processes of a cluster.
package conductorv1

import _ "embed"

// OpenAPI is the description of the REST API, generated from the same proto.
//
//go:embed openapi.json
var OpenAPI []byte

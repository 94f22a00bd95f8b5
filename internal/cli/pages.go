package cli

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// page is a response with a part of a list.
type page interface {
	proto.Message
	GetNextPageToken() string
}

// pages fetches all pages and returns them as one response, whose token is empty. The rest of it is that of the last page.
func pages[P page](fetch func(token string) (P, error)) (P, error) {
	all, err := fetch("")
	for token := all.GetNextPageToken(); err == nil && token != ""; {
		var more P
		if more, err = fetch(token); err == nil {
			token = more.GetNextPageToken()
			proto.Merge(all, more)
		}
	}
	if err != nil {
		return all, err
	}
	m := all.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName(protoreflect.Name("next_page_token")))
	return all, nil
}
